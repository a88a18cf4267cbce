"""Prints the package's log records as lines on the terminal while a command runs.

The package's modules log through `logging`, each under its own name; programs that import them configure it themselves.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Final

ASIDE: Final = ("deepcritic.hub", "deepcritic.text")
"""Their warnings go to standard error: they occur while a model loads, even if standard output is a pipe."""


class Lines(logging.Handler):
    """Prints each record as a line on standard output. Write errors propagate, as with `print`."""

    def emit(self, record: logging.LogRecord) -> None:
        aside = record.levelno >= logging.WARNING and record.name.startswith(ASIDE)
        print(record.getMessage(), file=sys.stderr if aside else sys.stdout, flush=True)


@contextlib.contextmanager
def logged_lines() -> Iterator[None]:
    """Print the package's log records from INFO on inside the block; nested blocks print them once."""
    logger, handler = logging.getLogger("deepcritic"), Lines()
    if any(isinstance(one, Lines) for one in logger.handlers):
        yield
        return
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates

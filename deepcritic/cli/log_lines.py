"""Prints the package's log records as lines on the terminal while a command runs.

The modules of the package log through `logging`, each under its own name; a program that uses them decides what becomes of that.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Final

ASIDE: Final = ("deepcritic.hub", "deepcritic.text")
"""Warnings of these go to the standard error: they come while a model is loaded, also where the answer goes to a pipe."""


class Lines(logging.Handler):
    """A line for each record, on the standard output. Errors of writing reach the caller, as with `print`."""

    def emit(self, record: logging.LogRecord) -> None:
        aside = record.levelno >= logging.WARNING and record.name.startswith(ASIDE)
        print(record.getMessage(), file=sys.stderr if aside else sys.stdout, flush=True)


@contextlib.contextmanager
def logged_lines() -> Iterator[None]:
    """Print what the package logs, from INFO on, until the block ends; once, also within another such block."""
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

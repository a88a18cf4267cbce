"""Escapes control sequences in printed texts, which may come from data and models.

>>> written_out("a\\x1b[2Jb\\u202ec", colours=False), written_out("\\x1b[1mbold\\x1b[0m \\x1b]0;title\\x07", colours=True)
('a\\\\u001b[2Jb\\\\u202ec', '\\x1b[1mbold\\x1b[0m \\\\u001b]0;title\\\\u0007')
"""

from __future__ import annotations

import re
from typing import Any

_ORDERS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)"
"""Control characters but tab and line end, and those that turn the direction of a text."""
_ANYWHERE = re.compile(_ORDERS)
_OURS = re.compile(rf"(\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[\d?[AK]|\r)|{_ORDERS}")
"""The same, beside the colours of a line, and the few orders by which a live line of progress is written anew."""


def written_out(text: str, *, colours: bool) -> str:
    """`text` with the characters that a terminal obeys as escapes of JSON; with `colours`, those of our own output stay."""
    if colours:
        return _OURS.sub(lambda found: found.group(1) or _escape(found), text)
    return _ANYWHERE.sub(_escape, text)


class VisibleOutput:
    """Standard output through `written_out`. For anything but writing it is the stream that it was made of."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(written_out(text, colours=self._stream.isatty()))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"

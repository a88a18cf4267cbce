"""Escapes control sequences in printed text that may come from data or models.

>>> written_out("a\\x1b[2Jb\\u202ec", colours=False), written_out("\\x1b[1mbold\\x1b[0m \\x1b]0;title\\x07", colours=True)
('a\\\\u001b[2Jb\\\\u202ec', '\\x1b[1mbold\\x1b[0m \\\\u001b]0;title\\\\u0007')
"""

from __future__ import annotations

import re
from typing import Any

_ORDERS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)"
"""Control characters except tab and line end, and bidirectional controls."""
_ANYWHERE = re.compile(_ORDERS)
_OURS = re.compile(rf"(\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[\d?[AK]|\r)|{_ORDERS}")
"""The same, and the sequences of our own output: colours, and those that rewrite a progress line."""


def written_out(text: str, *, colours: bool) -> str:
    """Escape terminal control characters in `text` as in JSON; with `colours`, keep the sequences of our own output."""
    if colours:
        return _OURS.sub(lambda found: found.group(1) or _escape(found), text)
    return _ANYWHERE.sub(_escape, text)


class VisibleOutput:
    """Standard output filtered by `written_out`. All but writing is delegated to the wrapped stream."""

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

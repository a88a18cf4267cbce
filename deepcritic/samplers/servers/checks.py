"""Detects problems of a server from its replies: another model, empty replies, identical samples. Each is logged once.

>>> checks = ReplyChecks("gpt-4o")
>>> checks.served("gpt-4o-2024-08-06")
>>> checks.served("gpt-4o-mini")  # logs: another model answers than was asked for: gpt-4o-mini, not gpt-4o
"""

from __future__ import annotations

import logging
import re
from typing import NamedTuple

from deepcritic.errors import InputError
from deepcritic.samplers.base import Request
from deepcritic.samplers.servers.replies import Completion

LOG = logging.getLogger(__name__)

AT_FIRST = 8
"""This many bad replies of one kind before the first good one mean that none will be good."""
ALIKE = 6
"""A warning is logged after this many samples that repeat another one of their prompt, if no samples differ."""
_VERSION = re.compile(r"([-@:](latest|\d{4}-?\d{2}-?\d{2}|\d{6}|\d{2}-\d{2,4}|\d{3,4}|v\d+(\.\d+)*))+$")


class _Asked(NamedTuple):
    """The outcomes of one request so far: their number, the number of replies among them, and the texts."""

    request: Request
    outcomes: int = 0
    replies: int = 0
    texts: frozenset[str] = frozenset()


class ReplyChecks:
    """Checks the replies of one process. `model` is the requested name, `field` the message field that holds the reply."""

    def __init__(self, model: str, field: str = "content") -> None:
        self._model, self._field = model, field
        self._good = self._empty = self._unreadable = self._alike = 0
        self._varied = self._told = self._estimated = False
        self._names: set[str] = set()
        self._open: dict[int, _Asked] = {}

    def served(self, name: str) -> None:
        """Record the model name of a reply."""
        if name and name not in self._names:
            self._names.add(name)
            if not same_model(self._model, name):
                LOG.warning(f"the server answers with another model: {printable(name)}, not {printable(self._model)}")

    def unreadable(self, url: str, error: ValueError) -> None:
        """Record an answer without a reply. Raises `InputError` if no reply can be read."""
        self._unreadable += 1
        if not self._good and self._unreadable >= AT_FIRST:
            remedy = "check that the address is the API's, usually ending in /v1, and needs no login page"
            raise InputError(
                f"no answer from {url} can be parsed", field="sampler.urls", found=str(error), remedy=remedy
            ) from None  # fmt: skip

    def reply(self, completion: Completion) -> str | None:
        """Record a reply. If it is empty but the model did write something, returns a description, else None. Raises `InputError`
        if all replies are empty."""
        if completion.text.strip() or completion.finish_reason == "length":
            self._good += 1
            return None
        self._empty += 1
        tokens = completion.tokens.completion
        count = "" if tokens is None else f" after {tokens} tokens"
        where = f"; {completion.beside} has text" if completion.beside else ""
        seen = f"its {self._field} is empty{count}{where}"
        remedy = (
            f"set sampler.reply_field={completion.beside}, or the server's reasoning parser for this model"
            if completion.beside
            else "check the server's chat template and reasoning parser"
        )
        if not self._good and self._empty >= AT_FIRST:
            raise InputError("every reply is empty", field="sampler", found=seen, remedy=remedy)
        if self._empty == 1:
            LOG.warning(f"a reply is empty although not truncated: {seen}; {remedy}")
        return seen if completion.beside or (tokens or 0) > 1 else None

    def sample(self, request: Request, text: str | None) -> None:
        """Record one of several samples of a prompt; None for a failed one. Greedy samples, always identical, are skipped."""
        if len(request.keys) < 2 or not request.sampling.temperature:
            return
        known = self._open.pop(id(request), _Asked(request))
        texts = known.texts if text is None else known.texts | {text}
        asked = _Asked(request, known.outcomes + 1, known.replies + (text is not None), texts)
        if asked.outcomes < len(request.keys):
            self._open[id(request)] = asked
        elif len(texts) > 1:
            self._varied = True
        elif texts:
            self._alike += asked.replies - 1
            self._tell_alike(ALIKE)

    def estimated(self) -> None:
        """Record a reply whose tokens the server did not count."""
        if not self._estimated:
            LOG.warning("the server does not report token counts; tokens and costs are estimated from characters")
        self._estimated = True

    def close(self) -> None:
        """Log the final warnings."""
        if self._empty > 1:
            LOG.warning(f"{self._empty} replies are empty although not truncated")
        self._tell_alike(2)

    def _tell_alike(self, least: int) -> None:
        if self._alike >= least and not self._varied and not self._told:
            self._told = True
            LOG.warning(
                "all samples of a prompt are identical at a temperature above 0; the server may ignore seeds or use a cache, "
                "and votes over copies are meaningless (sampler.seeds=false sends no seeds)",
            )


def same_model(asked: str, served: str) -> bool:
    """Whether two names mean the same model. Folder, provider prefix, file extension and version may differ.

    >>> same_model("openai/gpt-4o", "gpt-4o-2024-08-06"), same_model("llama3.1", "llama3.1:latest")
    (True, True)
    >>> same_model("qwen", "/models/Qwen.gguf"), same_model("gpt-4o", "gpt-4o-mini"), same_model("llama3:8b", "llama3:70b")
    (True, False, False)
    """
    return _core(asked) == _core(served)


def _core(name: str) -> str:
    last = re.split(r"[/\\]", name.strip().rstrip("/\\").casefold())[-1].removesuffix(".gguf")
    return _VERSION.sub("", last) or last


def printable(text: str) -> str:
    """`text` on one line, without terminal control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)

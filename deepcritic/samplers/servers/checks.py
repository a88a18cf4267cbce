"""What replies give away about their server: another model, empty replies, samples that are all alike. Each is printed once.

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
"""So many replies of one kind before the first good one mean that none will be good."""
ALIKE = 6
"""So many samples that repeat another one of their prompt, and none that does not, are worth a line."""
_VERSION = re.compile(r"([-@:](latest|\d{4}-?\d{2}-?\d{2}|\d{6}|\d{2}-\d{2,4}|\d{3,4}|v\d+(\.\d+)*))+$")


class _Asked(NamedTuple):
    """The outcomes of one request so far: how many there are, how many of them are replies, and their texts."""

    request: Request
    outcomes: int = 0
    replies: int = 0
    texts: frozenset[str] = frozenset()


class ReplyChecks:
    """Follows the replies of one start. `model` is the name that was asked for, `field` the field that replies are read from."""

    def __init__(self, model: str, field: str = "content") -> None:
        self._model, self._field = model, field
        self._good = self._empty = self._unreadable = self._alike = 0
        self._varied = self._told = self._estimated = False
        self._names: set[str] = set()
        self._open: dict[int, _Asked] = {}

    def served(self, name: str) -> None:
        """Note the name under which a reply came."""
        if name and name not in self._names:
            self._names.add(name)
            if not same_model(self._model, name):
                LOG.warning(f"another model answers than was asked for: {printable(name)}, not {printable(self._model)}")

    def unreadable(self, url: str, error: ValueError) -> None:
        """Note an answer without a reply. Raises `InputError` where there is nothing else."""
        self._unreadable += 1
        if not self._good and self._unreadable >= AT_FIRST:
            remedy = "check the address: that of the API, usually with /v1 at the end, and that no login stands before it"
            raise InputError(
                f"no answer of {url} can be read", field="sampler.urls", found=str(error), remedy=remedy
            ) from None  # fmt: skip

    def reply(self, completion: Completion) -> str | None:
        """Note a reply. Returns why it is none of the model's where it is empty for another reason, or None. Raises `InputError`
        where all are empty."""
        if completion.text.strip() or completion.finish_reason == "length":
            self._good += 1
            return None
        self._empty += 1
        tokens = completion.tokens.completion
        count = "" if tokens is None else f" after {tokens} tokens"
        where = f"; there is text in {completion.beside}" if completion.beside else ""
        seen = f"its {self._field} is empty{count}{where}"
        remedy = (
            f"set sampler.reply_field={completion.beside}, or the server's reasoning parser to the model's"
            if completion.beside
            else "check the server's chat template and reasoning parser"
        )
        if not self._good and self._empty >= AT_FIRST:
            raise InputError("every reply is empty", field="sampler", found=seen, remedy=remedy)
        if self._empty == 1:
            LOG.warning(f"a reply is empty, though it was not cut: {seen}; {remedy}")
        return seen if completion.beside or (tokens or 0) > 1 else None

    def sample(self, request: Request, text: str | None) -> None:
        """Note one of several samples of a prompt; None for one that failed. Greedy replies are alike by right."""
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
        """Note a reply whose tokens nobody counted."""
        if not self._estimated:
            LOG.warning("the server does not count tokens: they are estimated from characters, and so is what they cost")
        self._estimated = True

    def close(self) -> None:
        """Say what is known at the end."""
        if self._empty > 1:
            LOG.warning(f"{self._empty} replies are empty, though they were not cut")
        self._tell_alike(2)

    def _tell_alike(self, least: int) -> None:
        if self._alike >= least and not self._varied and not self._told:
            self._told = True
            LOG.warning(
                "all samples of a prompt are the same, at a temperature above 0: if the server ignores seeds or answers from a "
                "cache, agreement and votes over them mean nothing (sampler.seeds=false leaves seeds out)",
            )


def same_model(asked: str, served: str) -> bool:
    """Whether two names are of one model: they may differ in the maker before a slash, a file's ending and folder, a version.

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
    """`text` without what a terminal would obey, and on one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)

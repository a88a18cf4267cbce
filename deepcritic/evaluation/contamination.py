"""Finds benchmark problems that occur in training data, word for word or nearly so.

    problems = Problems.of(["processbench/gsm8k.json", "processbench/math.json.gz"])
    problems.holds("Mr. Sam shared ...")              # 'processbench/gsm8k.json:1', or None

Comparison is by words and ignores case and white space. A text *holds* a problem if it equals the problem or, for problems of
at least `SHORTEST` words, contains it (a conversation that quotes it). It *resembles* a problem if at least half of the problem's
runs of `RUN` words occur in it (runs of 13 words: Brown et al. 2020, appendix C). That is often the same problem with a number
changed: check it by hand.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self

from deepcritic.datasets.base import placed
from deepcritic.datasets.reading import Place, read_records
from deepcritic.errors import InputError

RUN: Final = 13
SHORTEST: Final = 5
FIELDS: Final = ("problem", "question", "query", "instruction", "prompt", "input")
"""Fields that may hold the problem, ignoring case: a text, or an object with one of these fields."""
CONVERSATIONS: Final = ("messages", "conversations", "prompt")
"""Fields that may hold a conversation as a list of turns."""
_TURN: Final = (("role", "from"), ("content", "value"))
_Words = tuple[str, ...]


class Hit(NamedTuple):
    """A problem found in a text. `exact` is true if the text holds it, false if it resembles it."""

    names: tuple[str, ...]
    exact: bool


class Problems:
    """Problems to look for, by name. A problem given several times has several names.

    >>> problems = Problems({"a": "What is 1 + 1 ?"})
    >>> problems.holds("what is  1 + 1 ?"), problems.holds("What is 1 + 2 ?")
    ('a', None)
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self._names: dict[_Words, list[str]] = {}
        for name, text in problems.items():
            if words := _words(text):
                self._names.setdefault(words, []).append(name)
        self._beginnings: dict[_Words, list[_Words]] = {}
        self._runs: dict[_Words, list[_Words]] = {}
        for words in self._names:
            if len(words) >= SHORTEST:
                self._beginnings.setdefault(words[:SHORTEST], []).append(words)
            for run in _runs(words):
                self._runs.setdefault(run, []).append(words)

    @classmethod
    def of(cls, files: Iterable[str | os.PathLike[str]]) -> Self:
        """The problems of data sets in files or on the hub, named `file:line`, in any form `texts` reads."""
        return cls({f"{place.file}:{place.line}": text for file in files for place, text in texts(file)})

    def holds(self, text: str) -> str | None:
        """The name of a problem that `text` equals or contains, word for word; None if there is none."""
        words = _words(text)
        for problem in self._held(words):
            return self._names[problem][0]
        return None

    def find(self, text: str) -> list[Hit]:
        """Every problem that `text` holds or resembles."""
        words = _words(text)
        held = set(self._held(words))
        shared: Counter[_Words] = Counter(problem for run in _runs(words) for problem in self._runs.get(run, ()))
        near = [problem for problem, count in shared.items() if problem not in held and 2 * count >= len(_runs(problem))]
        return [Hit(tuple(self._names[problem]), problem in held) for problem in [*sorted(held), *near]]

    def _held(self, words: _Words) -> Iterator[_Words]:
        if words in self._names:
            yield words
        for start in range(len(words) - SHORTEST + 1):
            for problem in self._beginnings.get(words[start : start + SHORTEST], ()):
                if len(problem) < len(words) and words[start : start + len(problem)] == problem:
                    yield problem


def texts(file: str | os.PathLike[str]) -> Iterator[tuple[Place, str]]:
    """The problem of each row with its place: rows of this package (user turns of a conversation) or any with one of `FIELDS`."""
    for place, record in read_records(file):
        found = [*_texts(record)]
        if not found:
            expected = f"a row of this package, or one with a text in {', '.join(FIELDS)}"
            raise placed(InputError("the row has no problem", found=sorted(record), expected=expected), place)
        for text in found:
            yield place, text


def overlaps(problems: Mapping[str, str], files: Iterable[str | os.PathLike[str]]) -> dict[str, Any]:
    """Which of `problems` (id -> text) occur in the files. `held` and `resembled` map an id to the first `file:line`."""
    wanted = Problems(problems)
    held: dict[str, str] = {}
    near: dict[str, str] = {}
    counts: dict[str, int] = {}
    for file in files:
        counts[os.fspath(file)] = 0
        for place, text in texts(file):
            counts[os.fspath(file)] += 1
            for hit in wanted.find(text):
                for name in hit.names:
                    (held if hit.exact else near).setdefault(name, f"{place.file}:{place.line}")
    return {
        "texts": counts,
        "held": {name: held[name] for name in problems if name in held},
        "resembled": {name: near[name] for name in problems if name in near and name not in held},
    }


def _texts(record: Mapping[str, Any]) -> Iterator[str]:
    named = {name.lower(): value for name, value in record.items()}
    if isinstance(item := named.get("item"), dict):
        named = {**item, **named}
    for name in FIELDS:
        value = named.get(name)
        if isinstance(value, str) and value.strip():
            yield value
            return
        if isinstance(value, dict) and (inner := [*_texts(value)]):
            yield from inner
            return
    turns = next((turns for name in CONVERSATIONS if isinstance(turns := named.get(name), list)), ())
    for turn in turns:
        role, content = (turn.get(one) or turn.get(other) for one, other in _TURN) if isinstance(turn, dict) else (None, None)
        if role in ("user", "human") and isinstance(content, str):
            yield content


def _words(text: str) -> _Words:
    return tuple(text.casefold().split())


def _runs(words: _Words) -> set[_Words]:
    return {words[start : start + RUN] for start in range(len(words) - RUN + 1)}

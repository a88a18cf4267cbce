r"""Hints about suspicious replies or labels that are not errors: samples that are all the same, replies that are all empty,
labels whose steps are off by one. Each hint is one line and says what to check.

>>> samples = Samples()
>>> samples.see(["the same", "the same"])
>>> samples.see(["once more", "once more"])
>>> samples.hints(1.0)[0].partition(";")[0]
'all samples of a row are identical at temperature 1, in all 2 rows'
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deepcritic.schema import ALL_CORRECT, Judged

_MOSTLY = 0.5
"""The share of verdicts on solutions with an error that must be one step off, and more than are right."""


class Samples:
    """Counts equal and empty replies, one row at a time."""

    def __init__(self) -> None:
        self._several = self._same = self._replies = self._empty = 0

    def see(self, texts: Sequence[str]) -> None:
        """Add the texts of all replies to one row."""
        self._replies += len(texts)
        self._empty += sum(not text.strip() for text in texts)
        if len(texts) > 1 and any(text.strip() for text in texts):
            self._several += 1
            self._same += len(set(texts)) == 1

    def hints(self, temperature: float | None = None) -> list[str]:
        """The hints. `temperature` is the sampling temperature (None: unknown); at 0, equal samples are expected."""
        found = []
        if self._replies and self._empty == self._replies:
            found.append(
                f"all {self._replies} replies are empty; the server may return the text of a reasoning model elsewhere "
                "(reasoning_content), or every reply is cut within its thought (stage.max_tokens)"
            )
        if temperature != 0 and self._several > 1 and self._same == self._several:
            at = "" if temperature is None else f" at temperature {temperature:g}"
            found.append(
                f"all samples of a row are identical{at}, in all {self._several} rows; the server may ignore seeds or the "
                "temperature, and votes over copies are meaningless (see sampler.seeds, or set stage.samples=1)"
            )
        return found


def label_hints(judged: Iterable[Judged], where: str) -> list[str]:
    """A hint if the labels of one part seem off by one: most verdicts differ from them by the same step."""
    wrong = [row for row in judged if isinstance(row.gold, int) and row.gold != ALL_CORRECT]
    said = [row for row in wrong if isinstance(row.vote, int) and row.vote != ALL_CORRECT]
    if len(said) < 3:
        return []
    right = sum(row.vote == row.gold for row in said)
    found = []
    for step, end, base in ((-1, "first", 1), (1, "last", 0)):
        off = sum(row.vote == row.gold + step for row in said)
        at_end = sum(row.gold == (1 if base else row.steps) for row in wrong)
        if off > right and off >= _MOSTLY * len(wrong) and not at_end:
            way = "before" if base else "after"
            found.append(
                f"{where}: no label is the {end} step, and {off} of {len(wrong)} verdicts are one step {way} the label; "
                f"labels may count steps from {base} (set benchmark.index_base={base})"
            )
    return found

"""Estimates what a stage will cost: counted without sending anything (dry run), or projected from a few rows (probe).

estimate = CostEstimate(price)                                    # dry_run=true
estimate.count("critiques", requests, engine)
print(estimate)

print(projection(tokens_of_each_row, rest=980, seconds_per_token=0.001, price=price))   # probe=20
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deepcritic.runs.budget import Price, amount
from deepcritic.runs.failures import failure_line
from deepcritic.samplers.base import Bounded, Lengths, Request, Sampler, Tokenizing
from deepcritic.samplers.recorded import RecordedSampler

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHARACTERS = 3
"""Characters per token if the tokenizer is unknown: a low number, so that tokens are overestimated rather than under."""


class Call(NamedTuple):
    """The size of one call of a stage: samples, tokens of their prompts, and the most tokens of their replies."""

    label: str
    samples: int
    prompt: int
    completion: int
    bound: bool
    """Whether these are upper bounds, because the call depends on replies to earlier ones."""
    endless: int = 0
    """Samples with no limit on the reply: `max_tokens` is null and the engine does not know its context."""
    too_long: int = 0
    """Samples that will not be sent, because their prompt leaves no room for a reply; not included in `samples`."""
    example: str = ""
    """One of the `too_long` samples, with the reason."""


class CostEstimate:
    """Counts requests, call by call, instead of sending them."""

    def __init__(self, price: Price) -> None:
        self._price = price
        self._calls: list[Call] = []
        self._estimated = False

    def count(
        self, label: str, requests: Iterable[Request], engine: Sampler, *, bound: bool = False, more: int | None = 0
    ) -> None:
        """Count `requests` under `label`; each prompt may get up to `more` further tokens (None: up to the context).
        Requests to a `RecordedSampler` are not counted."""
        call = Call(label, 0, 0, 0, bound)
        recorded = isinstance(engine, RecordedSampler)
        lengths = engine.lengths if isinstance(engine, Bounded) and not recorded else Lengths()
        for one in requests if not recorded else ():
            call = self._with(call, one, self._prompt_tokens(one, engine), lengths, more)
        self._calls.append(call)

    def _with(self, call: Call, one: Request, known: int, lengths: Lengths, more: int | None) -> Call:
        limit, times = lengths.limit(known, one.sampling), len(one.keys)
        if limit == 0:
            example = call.example or f"{one.keys[0].text}: {lengths.refusal(known, one.sampling)}"
            return call._replace(too_long=call.too_long + times, example=example)
        prompt = known + more if more is not None else lengths.context or known
        return call._replace(
            samples=call.samples + times,
            prompt=call.prompt + times * min(prompt, lengths.context or prompt),
            completion=call.completion + times * (limit or 0),
            endless=call.endless + (times if limit is None else 0),
        )

    def _prompt_tokens(self, request: Request, engine: Sampler) -> int:
        source = engine.tokenizer_source if isinstance(engine, Tokenizing) else None
        if source is None:
            self._estimated = True
            characters = len(request.prefix) + sum(len(message.content) for message in request.messages)
            return math.ceil(characters / CHARACTERS)
        from deepcritic.text.chat_template import prompt_ids

        return len(prompt_ids(_tokenizer(source), request.messages, request.prefix))

    def __str__(self) -> str:
        together: dict[tuple[str, bool], Call] = {}
        for call in self._calls:
            known = together.get((call.label, call.bound))
            together[call.label, call.bound] = _sum(call.label, call.bound, [known, call] if known else [call])
        calls = list(together.values())
        total = _sum("total", any(call.bound for call in calls), calls)
        lines = [self._line(call) for call in ([*calls, total] if len(calls) != 1 else calls)]
        if self._estimated:
            lines.append(f"prompt tokens are estimated at {CHARACTERS} characters each, as the engine has no tokenizer")
        if total.too_long:
            lines.append(failure_line({"too_long": total.too_long}, total.example, "would fail"))
        return "\n".join(lines)

    def _line(self, call: Call) -> str:
        most = "at most " if call.bound else ""
        asked = f"{call.label}: {most}{call.samples:,} requests, {most}{call.prompt:,} prompt tokens, "
        if call.endless:
            return f"{asked}unlimited completion tokens (unknown context length; set max_tokens)"
        money = f", cost at most {amount(self._price.of(call.prompt, call.completion))}" if self._price else ""
        return f"{asked}at most {call.completion:,} completion tokens{money}"


def _sum(label: str, bound: bool, calls: Sequence[Call]) -> Call:
    return Call(
        label, sum(call.samples for call in calls), sum(call.prompt for call in calls),
        sum(call.completion for call in calls), bound, sum(call.endless for call in calls),
        sum(call.too_long for call in calls), next((call.example for call in calls if call.example), ""),
    )  # fmt: skip


class Spent(NamedTuple):
    """Tokens of all draws for one row."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0

    def plus(self, prompt: int, completion: int, cached: int) -> Spent:
        """The sum with another draw."""
        return Spent(self.prompt + prompt, self.completion + completion, self.cached + cached)


def projection(rows: Sequence[Spent], rest: int, seconds_per_token: float | None, price: Price) -> str:
    """The projected tokens, hours and cost of `rest` more rows, if they are like `rows`: one line per figure.

    Intervals are 95% prediction intervals for a sum (Student's t), with the variation of the rows and of their mean:
    with n rows of standard deviation s, the sum of m more lies within t s sqrt(m^2 / n + m) of m times their mean.
    """
    figures: dict[str, tuple[list[float], Callable[[float], str]]] = {
        "prompt tokens": ([row.prompt for row in rows], _whole),
        "completion tokens": ([row.completion for row in rows], _whole),
    }
    if seconds_per_token is not None:
        figures["hours"] = ([row.completion * seconds_per_token / 3600 for row in rows], amount)
    if price:
        figures["cost"] = ([price.of(*row) for row in rows], amount)
    return "\n".join(f"{name}: {_between(values, rest, written)}" for name, (values, written) in figures.items())


def sum_interval(values: Sequence[float], rest: int) -> tuple[float, float, float]:
    """`(estimate, low, high)` for the sum of `rest` more values; the bounds are NaN with fewer than two values.

    >>> [round(figure, 1) for figure in sum_interval([1.0, 2.0, 3.0], 10)]
    [20.0, 0.0, 48.3]
    """
    from scipy.stats import t

    estimate = rest * float(np.mean(values))
    if len(values) < 2:
        return estimate, math.nan, math.nan
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1)) * math.sqrt(rest**2 / len(values) + rest)
    return estimate, max(0.0, estimate - half), estimate + half


def _between(values: Sequence[float], rest: int, written: Callable[[float], str]) -> str:
    estimate, low, high = sum_interval(values, rest)
    interval = "an interval needs at least two rows" if math.isnan(low) else f"95% interval {written(low)} to {written(high)}"
    return f"{written(estimate)} ({interval})"


def _whole(number: float) -> str:
    return f"{number:,.0f}"


@functools.lru_cache(maxsize=4)
def _tokenizer(source: str) -> PreTrainedTokenizerBase:
    from deepcritic.hub.models import load_tokenizer

    return load_tokenizer(source)

"""Accuracy of plain and critic-guided votes over several solutions per problem, by number of solutions and tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepcritic.answers import compare
from deepcritic.metrics.bootstrap import mean_interval
from deepcritic.metrics.verified_vote import METHODS, Votes, curve
from deepcritic.schema import Row

Array = np.ndarray[Any, Any]


class Candidate(Row, frozen=True, kw_only=True):
    """One solution of a problem, for voting. `stands` (accepted) and `weight` are None without a critic."""

    id: str
    problem_id: str
    answer: str | None
    right: bool | None
    stands: bool | None = None
    weight: float | None = None
    tokens: int
    critic_tokens: int = 0


def voting_metrics(candidates: list[Candidate], criticised: int) -> dict[str, Any]:
    """Accuracy in percent by method and number of solutions, with 95% intervals over problems; and the gain over plain votes
    with as many solutions and with as many tokens, including the critic's.

    Tokens are means per problem. At equal tokens, the plain vote uses as many whole solutions as the tokens pay for; it is
    None if fewer were sampled or if token counts are missing.
    """
    by_problem: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_problem.setdefault(candidate.problem_id, []).append(candidate)
    groups = list(by_problem.values())
    most, deepest = min(criticised, max(map(len, groups))), max(map(len, groups))
    everything = [_votes(group) for group in groups]
    plain = curve(everything, "majority", deepest)
    first = [votes.first(criticised) for votes in everything]
    write_tokens = float(np.mean([candidate.tokens for candidate in candidates]))
    critic_tokens = float(np.mean([candidate.critic_tokens for group in groups for candidate in group[:criticised]]))
    curves = {"majority": [_point(k, plain[k - 1], k * write_tokens) for k in range(1, deepest + 1)]}
    gains: dict[str, list[dict[str, Any]]] = {}
    for method in METHODS[1:]:
        values, beside = curve(first, method, most), curve(first, "majority", most)
        points, gain = [], []
        for k in range(1, most + 1):
            tokens = k * (write_tokens + critic_tokens)
            points.append(_point(k, values[k - 1], tokens))
            paid = int(tokens / write_tokens + 1e-9) if write_tokens else None
            known = paid is not None and paid <= deepest
            equal = values[k - 1] - plain[(paid or 1) - 1] if known else np.full(len(groups), np.nan)
            gain.append(
                {
                    "k": k,
                    "gain": _gain(values[k - 1] - beside[k - 1]),
                    "plain_k_at_equal_tokens": paid,
                    "gain_at_equal_tokens": _gain(equal),
                }
            )
        curves[method], gains[method] = points, gain
    looked = [candidate for group in groups for candidate in group[:criticised]]
    return {
        "problems": len(groups),
        "solutions": len(candidates),
        "criticised": len(looked),
        "rejected": sum(candidate.stands is False for candidate in looked),
        "unparsed_answers": sum(candidate.answer is None for candidate in candidates),
        "undecided_answers": sum(candidate.answer is not None and candidate.right is None for candidate in candidates),
        "curves": curves,
        "gains": gains,
    }


def _point(k: int, values: Array, tokens: float) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    low, high = mean_interval(known)
    return {"k": k, "accuracy": _percent(known.mean()), "interval": [_percent(low), _percent(high)], "tokens": round(tokens, 1)}


def _gain(values: Array) -> dict[str, Any] | None:
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = mean_interval(known)
    return {"estimate": _percent(known.mean()), "interval": [_percent(low), _percent(high)]}


def _percent(value: float) -> float:
    return round(100 * float(value), 4)


def _votes(group: list[Candidate]) -> Votes:
    """The solutions of one problem, grouped by equal answers: all right ones are equal, the others are compared."""
    wrong = list(dict.fromkeys(one.answer for one in group if one.answer is not None and not one.right))
    kinds: dict[str, int] = {}
    for answer in wrong:
        same = compare([(answer, other) for other in kinds]) if kinds else []
        kinds[answer] = next((kinds[other] for other, result in zip(kinds, same, strict=True) if result.equal), len(kinds) + 1)
    return Votes(
        answer=[-1 if one.answer is None else 0 if one.right else kinds[one.answer] for one in group],
        right=[one.right is True for one in group],
        stands=[one.stands is not False for one in group],
        weight=[1.0 if one.weight is None else one.weight for one in group],
    )

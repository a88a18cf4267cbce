"""Verify, refine, select beside plain refinement and the plain vote, at equal tokens; writes data/evidence/selection.json.

    scripts/demo && scripts/evidence selection            # some minutes; the critic is the demo's, after RL

In the small world, on problems of the test split that the demo does not use. Tokens are prompts and replies of generator and
critic together, the mean for each problem. Equal tokens means: plain refinement refines as many solutions of a problem as these
tokens pay for, and their answers vote; the plain vote draws as many solutions. No setting was tuned on these problems: the
settings are the functions' defaults, a budget that was fixed before the first run, and temperature 1.0, at which the small
world's generator makes errors.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_by import made_by
from rows import ABOVE_ZERO, begin, keep, row, show

from deepcritic.critic import Critic
from deepcritic.hub.models import model_id
from deepcritic.labels.solving import CALL
from deepcritic.metrics.bootstrap import mean_interval
from deepcritic.microworld.source import problems
from deepcritic.refining import Refinement, refine_many, solution_answer
from deepcritic.runs.jsonl import write_json
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.resume import request
from deepcritic.samplers.transformers import TransformersSampler
from deepcritic.schema import Example, Failure, Generation, Item, Key
from deepcritic.selecting import UNANIMOUS, select_many
from deepcritic.tasks.base import Question
from deepcritic.tasks.first_error import FirstError
from deepcritic.text.prompt_template import Template
from deepcritic.text.steps import split_steps

SMALL = "deepcritic://microworld"
SEEDS = (11, 12, 13)
MOST = 24
"""Solutions drawn for the plain vote."""
Figures = dict[str, tuple[float, list[float] | None]]
BUDGET = 5000
"""Tokens of a problem after which no further round of the selection starts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--critic", default="runs/demo/rl/model")
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    arguments = parser.parse_args()
    begin(__doc__ or "", arguments.seeds, 5)
    found = [saved(arguments.critic, arguments.problems, seed) for seed in arguments.seeds]
    rows = []
    for name in found[0]:
        values, intervals = zip(*(one[name] for one in found), strict=True)
        bounds = ABOVE_ZERO if " over " in name else None
        rows.append(row(name, arguments.seeds, values, intervals, bounds=bounds, share="right answers" in name))
    keep("selection", rows)
    show(rows)


def saved(critic_model: str, count: int, seed: int) -> Figures:
    """`one_seed`, kept in runs/evidence/selection, so that a stopped script continues. Other code or another critic starts
    over."""
    of = {"made_by": made_by("selection"), "critic": model_id(critic_model), "problems": count}
    file = Path(f"runs/evidence/selection/seed{seed}.json")
    if file.exists() and (kept := json.loads(file.read_text("utf-8")))["of"] == of:
        return {name: (value, interval) for name, (value, interval) in kept["figures"].items()}
    figures = one_seed(critic_model, count, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"of": of, "figures": figures})
    return figures


def one_seed(critic_model: str, count: int, seed: int) -> Figures:
    """Figures in percent or points, each with its interval over problems; tokens have no interval."""
    rows = {row.id: row for row in problems(split="test", count=count, seed=5000 + seed, lengths=[4, 5, 6])}
    solve = Template.of(f"{SMALL}/templates/solve.txt", "")
    rewrite = Template.of(f"{SMALL}/templates/refine.txt", "")
    writing = Sampling(temperature=1.0, max_tokens=96)
    task = FirstError(template=f"{SMALL}/templates/critique.txt")
    with (
        TransformersSampler(f"{SMALL}/models/generator") as generator,
        Critic(critic_model, task=task, samples=4, max_tokens=224, seed=seed) as critic,
    ):

        def draw(role: str, asked: list[Request]) -> dict[Key, Generation | Failure]:
            engine = critic.opened() if role == "critic" else generator
            return {outcome.key: outcome for outcome in engine.stream(asked)}

        asked = [
            request(
                Question(messages=solve.messages(problem=row.item.problem)), writing, example_id=name, call=CALL, seed=seed,
                samples=range(MOST),
            )
            for name, row in rows.items()
        ]  # fmt: skip
        drawn = draw("generator", asked)
        by_problem = {name: [drawn[key] for key in one.keys] for name, one in zip(rows, asked, strict=True)}
        written = {name: _tokens(replies) / MOST for name, replies in by_problem.items()}

        def refined(place: int) -> dict[str, Refinement]:
            """The solution of each problem at `place`, refined."""
            replies = {name: found[place] for name, found in by_problem.items()}
            items = {
                name: Item(problem=rows[name].item.problem, steps=tuple(split_steps(reply.text)))
                for name, reply in replies.items() if isinstance(reply, Generation)
            }  # fmt: skip
            return refine_many(items, critic=critic, draw=draw, prompt=rewrite, writing=writing, rounds=4, seed=seed + place)

        selected = select_many(
            {name: row.item.problem for name, row in rows.items()}, critic=critic, draw=draw, writing=writing, solve=solve,
            rewrite=rewrite, budget=BUDGET, seed=seed,
        )  # fmt: skip
        refinements = [refined(0)]
        tokens = {
            "refine": _mean([refinements[0][name].tokens + written[name] for name in rows]),
            "select": _mean([selected[name].tokens for name in rows]),
        }
        paid_refinements = min(MOST, max(1, int(tokens["select"] / tokens["refine"])))
        refinements += [refined(place) for place in range(1, paid_refinements)]
    right = {
        "refine": _right(rows, {name: one.answer for name, one in refinements[0].items()}),
        "select": _right(rows, {name: one.answer for name, one in selected.items()}),
    }
    refined_vote = _right(rows, {name: _common([found[name].answer for found in refinements]) for name in rows})
    figures: Figures = {"a single solution: right answers": _share(_vote(rows, by_problem, 1))}
    for name in ("refine", "select"):
        paid = min(MOST, max(1, int(tokens[name] / _mean(list(written.values())))))
        plain = _vote(rows, by_problem, paid)
        figures[f"{name}: right answers"] = _share(right[name])
        figures[f"{name}: tokens for each problem"] = (tokens[name], None)
        figures[f"{name}: solutions that its tokens pay for"] = (paid, None)
        figures[f"{name} over the plain vote at equal tokens"] = _share(right[name] - plain)
    figures["select: problems that end unanimously, percent"] = _share(
        np.array([100.0 * (one.outcome == UNANIMOUS) for one in selected.values()])
    )
    figures["refinements that the tokens of select pay for"] = (paid_refinements, None)
    figures["a vote of these refinements: right answers"] = _share(refined_vote)
    figures["select over a vote of refinements at equal tokens"] = _share(right["select"] - refined_vote)
    return figures


def _vote(rows: Mapping[str, Example], drawn: Mapping[str, Sequence[Generation | Failure]], size: int) -> np.ndarray[Any, Any]:
    """Whether the most common answer of the first `size` solutions is right; ties go to the first drawn."""
    winners: dict[str, str | None] = {}
    for name, replies in drawn.items():
        winners[name] = _common([solution_answer([one.text]) for one in replies[:size] if isinstance(one, Generation)])
    return _right(rows, winners)


def _common(answers: Sequence[str | None]) -> str | None:
    """The most common answer; the first of a tie. None if there is none."""
    counted = Counter(answer for answer in answers if answer is not None)
    return counted.most_common(1)[0][0] if counted else None


def _right(rows: Mapping[str, Example], answers: Mapping[str, str | None]) -> np.ndarray[Any, Any]:
    return np.array([100.0 * (answers.get(name) == row.gold.reference_answer) for name, row in rows.items()])


def _share(values: np.ndarray[Any, Any]) -> tuple[float, list[float]]:
    low, high = mean_interval(values)
    return float(values.mean()), [float(low), float(high)]


def _tokens(replies: Sequence[Generation | Failure]) -> int:
    return sum(one.prompt_tokens + one.completion_tokens for one in replies if isinstance(one, Generation))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


if __name__ == "__main__":
    main()

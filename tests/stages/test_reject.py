"""Rejective fine-tuning: which replies stay, where the hint is and where it is not, and that SFT reads what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError, StageIncomplete
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.samplers.base import Request
from deepcritic.schema import Dialogue, Preference, Preferred, Responses
from deepcritic.stages import reject
from deepcritic.tasks.first_error import FirstError
from deepcritic.tasks.pointwise import Pointwise
from deepcritic.training.rejection_sampling import HINTED, PLAIN
from tests.stages.conftest import call

TASK = Pointwise(binary=True)


@pytest.fixture
def rows(tmp_path: Path) -> list[Preference]:
    """Eight items of two responses, and two single ones, in `rows.jsonl`."""
    made = [
        Preference(
            id=f"p-{at}", item=Responses(query=f"q{at}", responses=("x", "y")), gold=Preferred(best=1 + at % 2), source="made"
        )
        for at in range(8)
    ]
    made += [
        Preference(
            id=f"s-{at}", item=Responses(query=f"s{at}", responses=("x",)), gold=Preferred(scores=(float(at),)), source="made"
        )
        for at in range(2)
    ]
    write_rows(tmp_path / "rows.jsonl", made)
    return made


def _text(row: Preference, context: Any, right: bool) -> str:
    """A reply that is right, or not, about responses shown in that order."""
    if row.gold.scores is not None:
        return f"Look. \\boxed{{{int(row.gold.scores[0] == right)}}}"
    return "Look. " + TASK.format(tuple(9 if (number == row.gold.best) == right else 2 for number in context))


def _run(folder: Any, path: Path, sampler: Any, **more: Any) -> dict[str, Any]:
    given = {"examples": str(path / "rows.jsonl"), "task": TASK, "sampler": sampler, "model": "m", **more}
    metrics: dict[str, Any] = call(reject, folder, **given)
    return metrics


def test_what_stays_and_what_goes(rows: list[Preference], open_folder: Any, fake_sampler: Any, tmp_path: Path) -> None:
    """p-0: always right (too easy). p-1: never. p-2: once. p-3: unparsed. p-4: right with the hint alone. The others always."""
    known = {row.id: row for row in rows}

    def answer(request: Request, sample: int) -> str:
        key, row = request.keys[0], known[request.keys[0].example_id]
        told = key.request == HINTED
        right = {"p-0": True, "p-1": False, "p-2": sample == 1, "p-3": False, "p-4": told}.get(row.id, True)
        return "no box" if row.id == "p-3" and not told else _text(row, request.context, right)

    sampler = fake_sampler(answer)
    with open_folder("reject") as folder:
        metrics = _run(folder, tmp_path, sampler)
    kept = list(read_rows(tmp_path / "runs/mine/reject/dialogues.jsonl", Dialogue))
    names = {row.id for row in kept}
    assert names == {"p-2/reject-1", "p-4/hinted-3", *(f"{row.id}/hinted-3" for row in rows if row.id not in {
        "p-1", "p-2", "p-3", "p-4"
    })}  # fmt: skip
    easy = {row.id for row in rows} - {"p-1", "p-2", "p-3", "p-4"}
    assert metrics["too_easy"] == 100 * len(easy) / len(rows)
    assert metrics["right"] == round(100 * (3 * len(easy) + 1) / 30, 2)
    assert metrics["hinted_right"] == round(100 * (len(easy) + 1) / 10, 2)
    assert (metrics["rows"], metrics["dialogues"], metrics["kept_plain"], metrics["kept_hinted"]) == (10, 8, 1, 7)
    counts = json.loads((tmp_path / "runs/mine/reject/manifest.json").read_text("utf-8"))["counts"]
    assert counts["replies"]["in"] == 40
    assert counts["replies"]["filtered"]["reject: unparsed"] == 3
    assert counts["replies"]["filtered"]["reject: too easy"] == 3 * len(easy)


def test_the_hint_is_asked_and_never_learnt(rows: list[Preference], open_folder: Any, fake_sampler: Any, tmp_path: Path) -> None:
    known = {row.id: row for row in rows}
    sampler = fake_sampler(lambda request, sample: _text(known[request.keys[0].example_id], request.context, sample != 1))
    with open_folder("reject") as folder:
        _run(folder, tmp_path, sampler)
    asked: dict[bool, list[Request]] = {False: [], True: []}
    for request in sampler.asked:
        asked[request.keys[0].request == HINTED].append(request)
    assert len(asked[True]) == len(rows)
    for request in asked[True]:
        row = known[request.keys[0].example_id]
        text = request.messages[-1].content
        assert text.endswith(TASK.hint(row.gold, request.context))
        assert text.startswith(TASK.ask(row.item, context=request.context).messages[-1].content)
    for request in asked[False]:
        row = known[request.keys[0].example_id]
        assert request.messages == TASK.ask(row.item, context=request.context).messages
    for dialogue in read_rows(tmp_path / "runs/mine/reject/dialogues.jsonl", Dialogue):
        row = known[dialogue.id.partition("/")[0]]
        assert "For you alone" not in dialogue.messages[0].content
        orders = [TASK.ask(row.item, seed=0, sample=sample) for sample in range(4)]
        assert dialogue.messages[:-1] in [question.messages for question in orders]
        assert TASK.reward(tuple(dialogue.verdict), row.gold) == 1


def test_without_hints(rows: list[Preference], open_folder: Any, fake_sampler: Any, tmp_path: Path) -> None:
    known = {row.id: row for row in rows}
    sampler = fake_sampler(lambda request, sample: _text(known[request.keys[0].example_id], request.context, sample == 0))
    with open_folder("reject") as folder:
        metrics = _run(folder, tmp_path, sampler, hinted_samples=0)
    assert {request.keys[0].request for request in sampler.asked} == {PLAIN}
    assert metrics["kept_hinted"] == 0
    assert metrics["dialogues"] == 10


def test_it_serves_step_critics_as_well(
    make_solutions: Any, critic_task: FirstError, open_folder: Any, fake_sampler: Any, tmp_path: Path
) -> None:
    solutions = make_solutions(6)
    write_rows(tmp_path / "rows.jsonl", solutions)
    gold = {row.id: row.gold.first_error for row in solutions}
    sampler = fake_sampler(lambda request, sample: critic_task.format(gold[request.keys[0].example_id] if sample else -1))
    with open_folder("reject") as folder:
        call(reject, folder, examples=str(tmp_path / "rows.jsonl"), task=critic_task, sampler=sampler, model="m")
    dialogues = list(read_rows(tmp_path / "runs/mine/reject/dialogues.jsonl", Dialogue))
    assert {row.task for row in dialogues} == {"first_error"}
    assert all(row.verdict == gold[row.id.partition("/")[0]] for row in dialogues)


def test_a_draw_that_failed_is_asked_again_and_nothing_is_decided(
    rows: Any, open_folder: Any, fake_sampler: Any, tmp_path: Path
) -> None:
    known = {row.id: row for row in rows}

    def answer(request: Request, sample: int) -> str | None:
        row = known[request.keys[0].example_id]
        return None if row.id == "p-5" and sample == 0 else _text(row, request.context, sample != 1)

    with open_folder("reject") as folder, pytest.raises(StageIncomplete, match="1 requests failed"):
        _run(folder, tmp_path, fake_sampler(answer, "timed_out"))
    again = fake_sampler(lambda request, sample: _text(known[request.keys[0].example_id], request.context, sample != 1))
    with open_folder("reject") as folder:
        _run(folder, tmp_path, again)
    assert [key.text for request in again.asked for key in request.keys] == ["p-5|reject|0|0"]


def test_nothing_right_and_nothing_labelled(rows: Any, open_folder: Any, fake_sampler: Any, tmp_path: Path) -> None:
    with open_folder("reject") as folder, pytest.raises(InputError, match="no reply is correct"):
        _run(folder, tmp_path, fake_sampler(lambda request, sample: "no box"))
    with open_folder("other") as folder, pytest.raises(InputError, match="samples: out of range; found 0"):
        _run(folder, tmp_path, fake_sampler(lambda request, sample: ""), samples=0)

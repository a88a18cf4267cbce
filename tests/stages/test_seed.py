"""Seed critiques: what is asked, which draw is taken, which solutions become dialogues, and where the others go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.microworld.lessons import deep_check
from deepcritic.microworld.world import Problem
from deepcritic.rows import ALL_CORRECT, Dialogue, Example, Generation, Gold, Item
from deepcritic.stages import seed
from deepcritic.stages.seed import rated_steps, step_verdict, without_box
from deepcritic.store import read_rows, write_rows
from deepcritic.tasks.first_error import FirstError

RIGHT, WRONG = "\\boxed{1}", "\\boxed{-1}"
Command = Callable[..., Any]
Script = dict[tuple[str, str, int], list[str]]
"""The replies by (example, call, step), one for each sample; the last one is repeated."""


def _row(name: str, ratings: tuple[int | None, ...], problem: str | None = None) -> Example:
    first = next((at for at, rating in enumerate(ratings, start=1) if rating == -1), ALL_CORRECT)
    item = Item(problem=problem or f"problem {name}", steps=tuple(f"{name}{at}" for at in range(1, len(ratings) + 1)))
    return Example(id=name, item=item, gold=Gold(first_error=first, step_ratings=ratings), source="made")


@pytest.fixture
def seeded(tmp_path: Path, fake_sampler: Any, open_folder: Any) -> Callable[..., Any]:
    """`seeded(rows, script)` runs the stage with a teacher that answers as the script says."""

    def run(rows: list[Example], script: Script, **options: Any) -> Any:
        def answer(request: Any, sample: int) -> str:
            key = request.keys[0]
            replies = script[key.example_id, key.request, key.step]
            return f"{key.example_id} {key.request} {key.step} {sample} {replies[min(sample, len(replies) - 1)]}"

        teacher = fake_sampler(answer)
        write_rows(tmp_path / "rows.jsonl", rows)
        with open_folder("seed") as folder:
            manifest = seed.run(
                folder, examples=str(tmp_path / "rows.jsonl"), task=FirstError(), teacher="deepcritic://microworld/models/teacher",
                sampler=teacher, **{"in_depth_samples": 4, "in_depth_wave": 2, **options},
            )  # fmt: skip
        teacher.manifest = manifest
        teacher.dialogues = {row.id: row for row in read_rows(tmp_path / "runs/mine/seed/dialogues.jsonl", Dialogue)}
        return teacher

    return run


def _gone(manifest: dict[str, Any]) -> dict[str, int]:
    """Where solutions went, of the reasons that occurred."""
    counts = manifest["counts"]["solutions"]
    assert counts["failed"] == {}
    assert counts["in"] == counts["out"] + sum(counts["filtered"].values())
    return {reason: count for reason, count in counts["filtered"].items() if count}


def _script(rows: list[Example], **changes: list[str]) -> Script:
    """A teacher that is right at once, but for `changes`, named `example_call_step`."""
    script: Script = {}
    for row in rows:
        for step, rating in rated_steps(row):
            for call in ("initial", "in_depth", "merge"):
                script[row.id, call, step] = changes.pop(f"{row.id}_{call}_{step}", [RIGHT if rating >= 0 else WRONG])
    assert not changes
    return script


def test_a_dialogue_is_the_merged_critiques_in_order_with_the_verdict(seeded: Any) -> None:
    rows = [_row("a", (1, 0, -1)), _row("b", (1, None, 1))]
    teacher = seeded(rows, _script(rows))
    a, b = teacher.dialogues["a"], teacher.dialogues["b"]
    assert [message.role for message in a.messages] == ["user", "assistant"]
    assert a.messages[:-1] == FirstError().ask(rows[0].item).messages
    assert a.messages[-1].content == "Step 1. a merge 1 0\nStep 2. a merge 2 0\nStep 3. a merge 3 0\n\\boxed{3}"
    assert b.messages[-1].content == "Step 1. b merge 1 0\nStep 3. b merge 3 0\n\\boxed{-1}", "only rated steps are critiqued"
    assert (a.verdict, b.verdict) == (3, ALL_CORRECT)
    assert (a.task, a.source) == ("first_error", "made")
    assert b.provenance == tuple(f"b|{call}|{step}|0" for step in (1, 3) for call in ("initial", "in_depth", "merge"))
    assert FirstError().parse(a.messages[-1].content) == 3


def test_the_first_draw_that_agrees_is_taken_and_no_more_are_drawn(seeded: Any) -> None:
    rows = [_row("a", (1,)), _row("b", (1,)), _row("c", (-1,))]
    teacher = seeded(
        rows, _script(rows, a_in_depth_1=[WRONG, RIGHT], b_in_depth_1=["?", WRONG, WRONG, RIGHT], c_merge_1=["?", WRONG])
    )
    drawn = Counter((request.keys[0].example_id, request.keys[0].request) for request in teacher.asked for _ in request.keys)
    assert drawn["a", "in_depth"] == 2, "a wave of two holds an agreeing one"
    assert drawn["b", "in_depth"] == 4
    assert drawn["c", "in_depth"] == 2
    assert (drawn["a", "merge"], drawn["c", "merge"]) == (1, 2)
    assert {name: row.provenance[1] for name, row in teacher.dialogues.items()} == {
        "a": "a|in_depth|1|1", "b": "b|in_depth|1|3", "c": "c|in_depth|1|0",
    }  # fmt: skip
    assert teacher.dialogues["c"].provenance[2] == "c|merge|1|1"


def test_the_prompts_hold_the_earlier_texts_without_their_verdicts(seeded: Any) -> None:
    rows = [_row("a", (1, -1))]
    teacher = seeded(rows, _script(rows))
    by_call = {(request.keys[0].request, request.keys[0].step): request.messages[0].content for request in teacher.asked}
    assert "a initial 2 0" in by_call["in_depth", 2]
    assert "a in_depth 2 0" in by_call["merge", 2]
    assert "a initial 2 0" in by_call["merge", 2]
    assert "a initial 1 0" not in by_call["in_depth", 2]
    assert all("a1" in text and "a2" in text and "problem a" in text for text in by_call.values())
    for text in by_call.values():
        assert text.count("\\boxed") == 2, "those of the instructions"


def test_where_the_solutions_go(seeded: Any) -> None:
    rows = [
        _row("good", (1, -1)),
        _row("mute", (1, -1)),  # an initial critique cannot be read
        _row("deaf", (1, -1)),  # no in-depth verdict agrees
        _row("torn", (1, -1)),  # no merge agrees
        _row("told", (1, -1)),  # the merge says that there were two texts
        _row("same", (1, -1), problem="problem good"),
        _row("none", (None, None)),
    ]
    script = _script(
        rows,
        mute_initial_1=["perhaps"],
        deaf_in_depth_2=[RIGHT],
        torn_merge_2=[RIGHT],
        told_merge_1=["As the first critique says, " + RIGHT],
    )
    teacher = seeded(rows, script, seed=3)
    assert len(teacher.dialogues) == 1
    assert set(teacher.dialogues) < {"good", "same"}
    assert _gone(teacher.manifest) == {
        "a merge is unreadable, wrong or gives itself away": 2,
        "an in-depth verdict is wrong": 2,
        "another solution of the problem is taken": 1,
        "no rated step": 1,
    }
    asked = Counter(request.keys[0].request for request in teacher.asked if request.keys[0].example_id == "mute")
    assert asked == {"initial": 2}, "nothing goes deeper from a text that has no verdict"


def test_the_accuracy_by_call_is_that_of_the_first_sample(seeded: Any) -> None:
    rows = [_row("a", (1, -1)), _row("b", (1, 1))]
    script = _script(rows, a_initial_1=[WRONG], b_initial_1=["?"], a_in_depth_2=[RIGHT, WRONG], a_merge_1=[WRONG, RIGHT])
    accuracy = seeded(rows, script).manifest["teacher_accuracy"]
    assert accuracy["initial"] == {"steps": 4, "accuracy": 0.5}
    assert accuracy["in_depth"] == {"steps": 2, "accuracy": 0.5}, "b's first call gave nothing to go deeper into"
    assert accuracy["merge"] == {"steps": 2, "accuracy": 0.5}


def test_corrections_and_errors_are_all_taken_and_of_the_plain_ones_a_few(seeded: Any) -> None:
    plain = [_row(f"p{index}", (1, 1)) for index in range(6)]
    rows = [*plain, _row("wrong", (1, -1)), _row("mended", (1, 1))]
    teacher = seeded(rows, _script(rows, mended_initial_2=[WRONG]), plain_correct=2)
    taken = set(teacher.dialogues)
    assert {"wrong", "mended"} < taken
    assert len(taken) == 4
    assert _gone(teacher.manifest) == {"more plain correct ones than wanted": 4}


def test_at_most_so_many_problems(seeded: Any) -> None:
    rows = [_row(f"p{index}", (1, -1)) for index in range(9)]
    teacher = seeded(rows, _script(rows), max_problems=4)
    assert len(teacher.dialogues) == 4
    assert _gone(teacher.manifest) == {"more problems than wanted": 5}


def test_from_the_first_error_alone_the_steps_up_to_it_are_rated() -> None:
    def steps(gold: Gold) -> list[tuple[int, int]]:
        return rated_steps(Example(id="x", item=Item(problem="p", steps=("a", "b", "c")), gold=gold, source="made"))

    assert steps(Gold(first_error=2)) == [(1, 1), (2, -1)]
    assert steps(Gold(first_error=ALL_CORRECT)) == [(1, 1), (2, 1), (3, 1)]
    assert steps(Gold(first_error=2, step_ratings=(None, -1, None))) == [(2, -1)]
    assert steps(Gold()) == []


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("so \\boxed{1}", True), ("so \\boxed{-1}", False), ("\\boxed{1} no, \\boxed{-1}", False), ("\\boxed{ 1 }", True),
        ("fine", None), ("\\boxed{2}", None), ("\\boxed{right}", None), ("<think>\\boxed{1}", None),
        ("<think>\\boxed{1}</think>\\boxed{-1}", False),
    ],
)  # fmt: skip
def test_a_verdict_about_one_step(text: str, verdict: bool | None) -> None:
    assert step_verdict(text) is verdict


def test_a_critique_without_its_verdict_line() -> None:
    assert without_box("It holds.\n\\boxed{1}") == "It holds."
    assert without_box("<think>hm</think>It holds. \\boxed{1}") == "It holds."
    assert without_box("no box") == "no box"


def test_without_a_teacher(command: Command) -> None:
    write_rows(Path("rows.jsonl"), [_row("a", (1, -1))])
    outcome = command("stage=seed", "stage.examples=rows.jsonl", "run=mine")
    assert outcome.code == 2
    assert "no teacher is named: give teacher=PATH" in outcome.err


@pytest.mark.slow
def test_the_shipped_teacher_writes_dialogues(command: Command, make_solutions: Any, critic_task: FirstError) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    rows = make_solutions(24)
    write_rows(Path("rated.jsonl"), rows)
    outcome = command("experiment=microworld/seed", "stage.examples=rated.jsonl", "run=mine")
    assert outcome.code == 0, outcome.err
    folder = Path("runs/mine/seed")
    dialogues = list(read_rows(folder / "dialogues.jsonl", Dialogue))
    gold = {row.id: row for row in rows}
    assert len(dialogues) >= 8
    for dialogue in dialogues:
        row = gold[dialogue.id]
        assert dialogue.verdict == row.gold.first_error == critic_task.parse(dialogue.messages[-1].content)
        assert dialogue.messages[:-1] == critic_task.ask(row.item).messages
        assert "\\boxed" not in dialogue.messages[-1].content[: dialogue.messages[-1].content.rindex("\n")]
    keys = {row.key.text for row in read_rows(folder / "generations.jsonl", Generation)}
    assert all(set(dialogue.provenance) <= keys for dialogue in dialogues)
    accuracy = json.loads((folder / "manifest.json").read_text("utf-8"))["teacher_accuracy"]
    assert all(0.5 < figures["accuracy"] < 1 for figures in accuracy.values()), accuracy
    assert deep_check(Problem.read(rows[0].item.problem), list(rows[0].item.steps), 1)[1] is True


# Real input: human ratings, recorded replies, and then training


@pytest.fixture
def rated(command: Command, datasets_dir: Path) -> list[Example]:
    """A few hundred solutions of PRM800K, phase 1, as `prepare` makes them."""
    file = datasets_dir / "prm800k" / "phase1_train_plus.stepwise.jsonl.gz"
    words = ["stage=prepare", "source=prm800k", f"source.path={file}", "stage.limit=300", "stage.shuffle=true", "run=real"]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    return list(read_rows(Path("runs/real/prepare/examples.jsonl"), Example))


def _record(rows: list[Example], path: Path) -> None:
    """Replies to all three calls about every rated step, as an outside teacher's would be recorded."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            for step, rating in rated_steps(row):
                box = RIGHT if rating >= 0 else WRONG
                for call, text in (("initial", "At first sight"), ("in_depth", "Looking deeper"), ("merge", "All in all")):
                    reply = {"example_id": row.id, "request": call, "step": step, "sample": 0, "text": f"{text}, hm. {box}"}
                    file.write(json.dumps(reply) + "\n")


@pytest.mark.slow
def test_real_solutions_become_dialogues_and_train_a_critic(command: Command, rated: list[Example]) -> None:
    pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")
    assert len(rated) == 300
    _record(rated, Path("replies.jsonl"))
    words = ["stage=seed", "stage.examples=runs/real/prepare/examples.jsonl", "stage.generations=replies.jsonl", "run=real"]
    outcome = command(*words, "stage.in_depth_samples=1", "stage.merge_attempts=1")
    assert outcome.code == 0, outcome.err
    manifest = json.loads(Path("runs/real/seed/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["solutions"]["in"] == 300
    problems = {row.item.problem for row in rated}
    dialogues = list(read_rows(Path("runs/real/seed/dialogues.jsonl"), Dialogue))
    gone = _gone(manifest)
    assert set(gone) <= {"another solution of the problem is taken", "more plain correct ones than wanted"}
    assert len(dialogues) == 300 - sum(gone.values())
    assert 100 < len(dialogues) <= len(problems)
    assert manifest["teacher_accuracy"]["merge"]["accuracy"] == 1
    outcome = command(
        "stage=sft", "stage.dialogues=runs/real/seed/dialogues.jsonl", "model=deepcritic://microworld/models/base", "run=real",
        "stage.max_steps=2", "stage.batch_size=2", "stage.device_batch_size=1", "stage.max_length=2048", "stage.logging_steps=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    trained = json.loads(Path("runs/real/sft/manifest.json").read_text("utf-8"))
    assert trained["steps"] == 2
    counts = trained["counts"]["dialogues"]
    assert counts["in"] == len(dialogues) == counts["out"] + counts["filtered"].get("longer than max_length", 0)
    assert counts["out"] > 0

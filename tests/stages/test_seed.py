"""Seed critiques: what is asked, which draw is taken, which solutions become dialogues, and where the others go."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.microworld.lessons import deep_check
from deepcritic.microworld.world import Problem
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import ALL_CORRECT, Dialogue, Example, Generation, Gold, Item, Message
from deepcritic.seeding.dialogues import Lineage
from deepcritic.seeding.prompts import step_verdict
from deepcritic.seeding.solutions import rated_steps
from deepcritic.stages import seed
from deepcritic.tasks.first_error import FirstError
from tests.stages.conftest import call

RIGHT, WRONG = "\\boxed{1}", "\\boxed{-1}"
Command = Callable[..., Any]
Script = dict[tuple[str, str, int], list[Any]]
"""The replies by (example, call, step), one for each sample; the last one is repeated. None: the draw fails."""


def _row(name: str, ratings: tuple[int | None, ...], problem: str | None = None) -> Example:
    first = next((at for at, rating in enumerate(ratings, start=1) if rating == -1), ALL_CORRECT)
    item = Item(problem=problem or f"problem {name}", steps=tuple(f"{name}{at}" for at in range(1, len(ratings) + 1)))
    return Example(id=name, item=item, gold=Gold(first_error=first, step_ratings=ratings), source="made")


@pytest.fixture
def seeded(tmp_path: Path, fake_sampler: Any) -> Callable[..., Any]:
    """`seeded(rows, script)` runs the stage with a teacher that answers as the script says."""

    def run(rows: list[Example], script: Script, *, name: str = "mine", stop_after: int | None = None, **options: Any) -> Any:
        left = itertools.count() if stop_after is None else iter(range(stop_after))

        def answer(request: Any, sample: int) -> str | None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            key = request.keys[0]
            replies = script[key.example_id, key.request, key.step]
            reply = replies[min(sample, len(replies) - 1)]
            return None if reply is None else f"{key.example_id} {key.request} {key.step} {sample} {reply}"

        teacher = fake_sampler(answer)
        write_rows(tmp_path / "rows.jsonl", rows)
        with RunFolder(tmp_path / "runs" / name / "seed", stage="seed", config={}) as folder:
            manifest = call(
                seed, folder, examples=str(tmp_path / "rows.jsonl"), task=FirstError(), teacher="deepcritic://microworld/models/teacher",
                sampler=teacher, **{"in_depth_samples": 4, "wave_size": 2, "system": None, **options},
            )  # fmt: skip
        teacher.manifest, teacher.folder = manifest, folder.path
        teacher.dialogues = {row.id: row for row in read_rows(folder / "dialogues.jsonl", Dialogue)}
        return teacher

    return run


def _gone(manifest: dict[str, Any]) -> dict[str, int]:
    """Where solutions went, of the reasons that occurred."""
    counts = manifest["counts"]["solutions"]
    assert counts["failed"] == {}
    assert counts["in"] == counts["out"] + sum(counts["filtered"].values())
    return {reason: count for reason, count in counts["filtered"].items() if count}


def _script(rows: list[Example], **changes: list[Any]) -> Script:
    """A teacher that is right at once, but for `changes`, named `example_call_step`."""
    script: Script = {}
    for row in rows:
        for step, rating in rated_steps(row):
            for name in ("initial", "in_depth", "merge"):
                script[row.id, name, step] = changes.pop(f"{row.id}_{name}_{step}", [RIGHT if rating >= 0 else WRONG])
    assert not changes
    return script


def test_a_dialogue_is_the_merged_critiques_in_order_with_the_verdict(seeded: Any) -> None:
    rows = [_row("a", (1, 0, -1)), _row("b", (1, None, 1))]
    teacher = seeded(rows, _script(rows))
    a, b = teacher.dialogues["a"], teacher.dialogues["b"]
    assert [message.role for message in a.messages] == ["user", "assistant"]
    assert a.messages[:-1] == FirstError().ask(rows[0].item).messages
    assert a.messages[-1].content == "Step 1. a merge 1 0\n\nStep 2. a merge 2 0\n\nStep 3. a merge 3 0\n\\boxed{3}"
    assert b.messages[-1].content == "Step 1. b merge 1 0\n\nStep 3. b merge 3 0\n\\boxed{-1}", "only rated steps are critiqued"
    assert (a.verdict, b.verdict) == (3, ALL_CORRECT)
    assert (a.task, a.source, a.license) == ("first_error", "made", "unknown")
    assert b.provenance == tuple(f"b|{call}|{step}|0" for step in (1, 3) for call in ("initial", "in_depth", "merge"))
    assert FirstError().parse(a.messages[-1].content) == 3


def test_every_sample_is_kept_with_its_parent(seeded: Any) -> None:
    rows = [_row("a", (-1,))]
    teacher = seeded(rows, _script(rows, a_in_depth_1=["?", WRONG], a_merge_1=["?", WRONG]))
    kept = {row.key.text: row.key.parent for row in read_rows(teacher.folder / "generations.jsonl", Generation)}
    assert kept == {
        "a|initial|1|0": "", "a|in_depth|1|0": "a|initial|1|0", "a|in_depth|1|1": "a|initial|1|0",
        "a|merge|1|0": "a|in_depth|1|1", "a|merge|1|1": "a|in_depth|1|1",
    }  # fmt: skip


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
        _row("lost", (1, -1)),  # the engine gives no reply
        _row("same", (1, -1), problem="problem good"),
        _row("none", (None, None)),
    ]
    script = _script(
        rows,
        mute_initial_1=["perhaps"],
        deaf_in_depth_2=[RIGHT],
        torn_merge_2=[RIGHT],
        told_merge_1=["As the first critique says, " + RIGHT],
        lost_in_depth_1=[None],
    )
    teacher = seeded(rows, script, seed=3)
    assert len(teacher.dialogues) == 1
    assert set(teacher.dialogues) < {"good", "same"}
    counts = teacher.manifest["counts"]["solutions"]
    gone = {reason: count for reason, count in counts["filtered"].items() if count}
    assert gone == {
        "no rated step": 1,
        "another solution of the problem was chosen": 1,
        "initial critique: unparsed": 1,
        "in-depth critique: wrong verdict": 1,
        "merged critique: wrong verdict": 1,
        "merged critique: mentions another critique": 1,
    }
    assert counts["failed"] == {"in-depth critique: no reply": 1}, "our own failure is not the teacher's"
    fates = {row.id: row.fate for row in read_rows(teacher.folder / "lineage.jsonl", Lineage)}
    kept = next(iter(teacher.dialogues))
    assert fates == {
        kept: "kept",
        "mute": "initial critique: unparsed", "deaf": "in-depth critique: wrong verdict",
        "torn": "merged critique: wrong verdict", "told": "merged critique: mentions another critique",
        "lost": "in-depth critique: no reply",
    }  # fmt: skip
    asked = Counter(request.keys[0].request for request in teacher.asked if request.keys[0].example_id == "mute")
    assert asked == {"initial": 2}, "nothing goes deeper from a text that has no verdict"


def test_stopped_at_any_draw_of_any_call_it_ends_with_the_same_files(seeded: Any, contents: Any) -> None:
    rows = [_row("a", (1, -1)), _row("b", (1,))]
    script = _script(rows, a_in_depth_2=["?", RIGHT, RIGHT, WRONG], b_merge_1=["?", RIGHT], a_initial_1=[WRONG])
    undisturbed = seeded(rows, script, name="undisturbed")
    expected, draws = contents(undisturbed.folder), undisturbed.manifest["generations"]
    assert draws == 3 + (2 + 4 + 2) + (1 + 1 + 2)
    assert {"dialogues.jsonl", "lineage.jsonl", "funnel.json", "examples.txt", "generations.jsonl"} < expected.keys()
    for done in range(draws):
        with pytest.raises(KeyboardInterrupt):
            seeded(rows, script, name=f"after-{done}", stop_after=done)
        resumed = seeded(rows, script, name=f"after-{done}")
        assert contents(resumed.folder) == expected, f"stopped after {done} draws"
        assert sum(len(request.keys) for request in resumed.asked) == draws - done, "nothing is drawn twice"


def test_the_funnel_is_told_rule_by_rule(seeded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [_row("a", (1, -1)), _row("b", (1, -1)), _row("none", (None,)), *(_row(f"p{index}", (1,)) for index in range(4))]
    teacher = seeded(rows, _script(rows, b_in_depth_1=[WRONG]), plain_correct=1)
    funnel = teacher.manifest["funnel"]
    assert (funnel[0], funnel[-2]) == (
        {"rule": "read", "dropped": 0, "left": 7}, {"rule": "above stage.plain_correct", "dropped": 3, "left": 2}
    )  # fmt: skip
    for before, after in itertools.pairwise(funnel):
        assert after["left"] == before["left"] - after["dropped"]
    assert json.loads((teacher.folder / "funnel.json").read_text("utf-8"))["funnel"] == funnel
    said = capsys.readouterr().out
    for line in (
        "       7           read",
        "       6        -1 no rated step",
        "       5        -1 in-depth critique: wrong verdict",
    ):
        assert line in said


def test_the_accuracy_by_call_is_that_of_the_first_sample(seeded: Any) -> None:
    rows = [_row("a", (1, -1)), _row("b", (1, 1))]
    script = _script(rows, a_initial_1=[WRONG], b_initial_1=["?"], a_in_depth_2=[RIGHT, WRONG], a_merge_1=[WRONG, RIGHT])
    accuracy = seeded(rows, script).manifest["teacher_accuracy"]
    assert accuracy["initial"] == {"asked": 4, "accuracy": 0.5}
    assert accuracy["in_depth"] == {"asked": 2, "accuracy": 0.5}, "b's first call gave nothing to go deeper into"
    assert accuracy["merge"] == {"asked": 2, "accuracy": 0.5}


def test_corrections_and_errors_are_all_taken_and_of_the_plain_ones_a_few(seeded: Any) -> None:
    plain = [_row(f"p{index}", (1, 1)) for index in range(6)]
    rows = [*plain, _row("wrong", (1, -1)), _row("mended", (1, 1))]
    teacher = seeded(rows, _script(rows, mended_initial_2=[WRONG]), plain_correct=2)
    taken = set(teacher.dialogues)
    assert {"wrong", "mended"} < taken
    assert len(taken) == 4
    assert _gone(teacher.manifest) == {"above stage.plain_correct": 4}
    assert teacher.manifest["corrections"] == {"dialogues": 1, "share_of_dialogues": 0.25, "steps": 1, "share_of_steps": 0.125}
    assert teacher.manifest["labels"] == {"-1": 3, "2": 1}
    again = seeded(rows, _script(rows, mended_initial_2=[WRONG]), plain_correct=2, seed=5, name="again")
    assert set(again.dialogues) != taken, "the seed draws them"


def test_merges_can_go_unchecked_as_the_authors_did(seeded: Any) -> None:
    rows = [_row("a", (1, -1))]
    told = "As the first critique says, " + WRONG
    teacher = seeded(rows, _script(rows, a_merge_1=[told], a_merge_2=["torn"]), recheck_merges=False)
    assert "first critique" in teacher.dialogues["a"].messages[-1].content
    assert FirstError().parse(teacher.dialogues["a"].messages[-1].content) == 2
    assert sum(len(request.keys) for request in teacher.asked if request.keys[0].request == "merge") == 2


def test_a_dialogue_that_the_task_would_read_otherwise_is_left_out(seeded: Any) -> None:
    rows = [_row("a", (-1,)), _row("b", (-1,))]
    teacher = seeded(rows, _script(rows, a_merge_1=["<think> who knows"]), recheck_merges=False)
    assert teacher.dialogues.keys() == {"b"}
    assert _gone(teacher.manifest) == {"the verdict does not parse back": 1}


def test_the_recipe_of_initial_critiques_takes_those_that_are_right(seeded: Any) -> None:
    rows = [_row("a", (1, -1)), _row("b", (1, -1)), _row("c", (1, -1))]
    teacher = seeded(rows, _script(rows, b_initial_1=[WRONG], c_initial_2=["?"]), recipe="initial")
    assert {request.keys[0].request for request in teacher.asked} == {"initial"}
    assert teacher.dialogues["a"].messages[-1].content == "Step 1. a initial 1 0\n\nStep 2. a initial 2 0\n\\boxed{2}"
    assert teacher.dialogues["a"].provenance == ("a|initial|1|0", "a|initial|2|0")
    assert _gone(teacher.manifest) == {"initial critique: wrong verdict": 1, "initial critique: unparsed": 1}


def test_the_direct_recipe_takes_the_first_whole_critique_that_agrees(seeded: Any) -> None:
    rows = [_row("a", (1, -1)), _row("b", (1, 1)), _row("c", (1, -1))]
    script: Script = {
        ("a", "direct", 0): ["\\boxed{1}", "?", "Look: \\boxed{2}"], ("b", "direct", 0): ["\\boxed{-1}"],
        ("c", "direct", 0): ["\\boxed{-1}"],
    }  # fmt: skip
    teacher = seeded(rows, script, recipe="direct", direct_samples=4, system="Be careful.")
    assert teacher.dialogues["a"].messages == (
        *FirstError().ask(rows[0].item).messages, Message(role="assistant", content="a direct 0 2 Look\n\\boxed{2}")
    )  # fmt: skip
    assert [message.role for message in teacher.asked[0].messages] == ["system", "user"]
    assert teacher.dialogues.keys() == {"a", "b"}
    assert _gone(teacher.manifest) == {"direct critique: wrong verdict": 1}
    assert teacher.manifest["early_stop"]["direct"]["samples_saved"] == 2, "b was right at once: two of four"


def test_some_examples_can_be_read_with_their_lineage(seeded: Any) -> None:
    rows = [_row(f"p{index}", (1, 1), problem=f"problem {index}\x1b[31m") for index in range(12)]
    script = _script(rows, **{f"p{index}_initial_2": [WRONG] for index in range(12)})
    folder = seeded(rows, script).folder
    text = (folder / "examples.txt").read_text("utf-8")
    assert text.count("-------------------- critique") == 10
    assert text.count("step 2: initial 0 (its verdict was wrong), in_depth 0, merge 0") == 10
    assert "[2, rated 1] p" in text
    assert "\x1b" not in text
    told = json.loads((folder / "funnel.json").read_text("utf-8"))
    assert len(told["examples"]) == 10
    one = told["examples"][0]
    assert one["made_of"][1] == {
        "step": 2,
        "samples": {call: f"{one['id']}|{call}|2|0" for call in ("initial", "in_depth", "merge")},
        "agrees": {"initial": False, "in_depth": True, "merge": True},
    }
    assert one["critique"].endswith("\\boxed{-1}")
    lengths = told["characters"]
    assert sum(lengths["histogram"]["counts"]) == told["dialogues"] == 12
    assert lengths["least"] <= lengths["median"] <= lengths["most"] == lengths["histogram"]["edges"][-1]


@pytest.mark.slow
def test_a_full_draw_replayed_in_waves_gives_the_same_dialogues(command: Command, make_solutions: Any) -> None:
    """All samples are drawn from the shipped teacher once; their replay needs fewer, and keeps the same."""
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    write_rows(Path("rated.jsonl"), make_solutions(12))
    words = ["experiment=microworld/seed", "stage.examples=rated.jsonl", "run=mine", "stage.in_depth_temperature=1.5"]
    outcome = command(*words, "stage.adaptive=false", "stage.in_depth_samples=6")
    assert outcome.code == 0, outcome.err
    full = Path("runs/mine/seed")
    manifest = json.loads((full / "manifest.json").read_text("utf-8"))
    assert manifest["early_stop"]["in_depth"]["samples_saved"] == 0
    kept = (full / "dialogues.jsonl").read_bytes()
    assert kept.count(b"\n") >= 4
    drawn = []
    for wave in (1, 2, 4, 6):
        replay = [f"stage.generations={full}/generations.jsonl", f"stage.wave_size={wave}", f"name=wave-{wave}"]
        assert command(*words, "stage.in_depth_samples=6", *replay).code == 0
        folder = Path(f"runs/mine/seed.wave-{wave}")
        assert (folder / "dialogues.jsonl").read_bytes() == kept
        assert (folder / "lineage.jsonl").read_bytes() == (full / "lineage.jsonl").read_bytes()
        saved = json.loads((folder / "manifest.json").read_text("utf-8"))["early_stop"]["in_depth"]
        whole = manifest["early_stop"]["in_depth"]
        assert saved["samples_drawn"] + saved["samples_saved"] == whole["samples_drawn"]
        assert saved["tokens_drawn"] < whole["tokens_drawn"] or wave == 6
        # The estimate against what the full draw really cost beyond it.
        assert saved["tokens_saved"] == pytest.approx(whole["tokens_drawn"] - saved["tokens_drawn"], rel=0.25)
        drawn.append(saved["samples_drawn"])
    assert drawn == sorted(drawn), "smaller waves draw less"
    assert drawn[0] < drawn[-1] / 2


def test_without_a_teacher(command: Command) -> None:
    write_rows(Path("rows.jsonl"), [_row("a", (1, -1))])
    outcome = command("stage=seed", "stage.examples=rows.jsonl", "run=mine")
    assert outcome.code == 2
    assert "no teacher is given; set teacher=PATH" in outcome.err


def _by_call(generations: Path, gold: dict[str, Example]) -> tuple[dict[str, float], dict[str, float]]:
    """By call, of the first samples: the share of wrong steps that are called wrong, and of right steps that are called right."""
    called: dict[bool, dict[str, list[bool]]] = {True: {}, False: {}}
    for row in read_rows(generations, Generation):
        first_error = gold[row.key.example_id].gold.first_error
        assert isinstance(first_error, int)
        if row.key.sample == 0:
            right = first_error == ALL_CORRECT or row.key.step < first_error
            called[right].setdefault(row.key.request, []).append(step_verdict(row.prefix + row.text) is right)
    found, passed = ({call: sum(hits) / len(hits) for call, hits in called[right].items()} for right in (False, True))
    return found, passed


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
    wrong_found, right_passed = _by_call(folder / "generations.jsonl", gold)
    assert wrong_found["in_depth"] > 0.5, "a teacher that calls every step right finds none"
    assert wrong_found["merge"] > 0.5
    assert min(right_passed.values()) > 0.6, "a teacher that calls every step wrong passes none"
    assert deep_check(Problem.read(rows[0].item.problem), list(rows[0].item.steps), 1)[1] is True

"""Each preset of a released critic, from the command line to its figures, against a server that checks what it is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import ALL_CORRECT, Example, Generation, Gold, Item, Judged, Preference, Preferred, Responses, encode
from deepcritic.tasks.step_by_step import StepByStep
from tests.evaluation.made_up_prompts import NAMES, clone, critic
from tests.samplers.server import FakeServer, reply, says

PRESETS = [name for name in NAMES if name != "none"]
ROWS = [
    Example(id="second", item=Item(problem="What is P?", steps=("ok a", "BAD b", "ok c")), gold=Gold(first_error=2), source="s"),
    Example(id="none", item=Item(problem="What is Q?", steps=("ok d", "ok e")), gold=Gold(first_error=ALL_CORRECT), source="s"),
    Example(id="first", item=Item(problem="What is R?", steps=("BAD f", "ok g")), gold=Gold(first_error=1), source="s"),
]
ANSWERS = [
    Preference(
        id=f"answer-{right}",
        item=Responses(
            query=f"What is {right}?", responses=(f"It is {'ok' if right else 'BAD'}.",), meta={"reference_answer": "ok"}
        ),
        gold=Preferred(scores=(float(right),)),
        source="s",
    )
    for right in (0, 1)
]


class Outcome(Protocol):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def _said(preset: Any, messages: list[dict[str, str]]) -> str:
    """What a critic of this form writes about the row that it is asked about: BAD marks what is wrong."""
    asked = messages[-1]["content"]
    if preset.form == "reference_answer":
        return "It differs. \\boxed{B}" if "BAD" in asked else "\\boxed{A}"
    if messages[-1]["role"] == "assistant":
        asked = messages[-2]["content"]
    if preset.form == "steps":
        now = asked.rpartition("Now: ")[2]
        return " $\\boxed{No}$" if "BAD" in now else " $\\boxed{Yes}$"
    row = next(row for row in ROWS if row.item.problem in asked)
    if preset.form == "labels":
        return "\n".join(f"\\boxed{{{'incorrect' if 'BAD' in step else 'correct'}}}" for step in row.item.steps)
    return str(preset.task().format(row.gold.first_error))


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_asked_as_it_says_and_measured(name: str, samples: int, command: Command, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone", critic(name))
    preset = critic(name, prompt=folder)
    task = preset.task()
    assert task is not None
    rows: list[Any] = ANSWERS if preset.form == "reference_answer" else ROWS
    (tmp_path / "rows.jsonl").write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    judged = preset.form == "reference_answer"
    with FakeServer(model=preset.model or "own") as server:
        server.trouble = lambda count, body: says(
            reply("chat/completions", body, message={"role": "assistant", "content": _said(preset, body["messages"])})
        )
        words = [
            "stage=evaluate", f"critic={name}", f"critic.prompt={folder}", "run=mine", f"stage.samples={samples}",
            f"benchmark={'preferences' if judged else 'examples'}", f"benchmark.path={tmp_path / 'rows.jsonl'}", "sampler=openai",
            f"sampler.urls={server.url}", "sampler.continues=true", *([] if preset.model else ["model=own"]),
            *(["task=pointwise"] if judged else []),
        ]  # fmt: skip
        outcome = command(*words)
    assert outcome.code == 0, outcome.err
    asked = server.asked
    drawn = preset.sampling(samples)
    assert {(body["model"], body["temperature"], body["top_p"]) for body in asked} == {
        (preset.model or "own", drawn["temperature"], drawn["top_p"])
    }
    wanted = _questions(task, rows) if not isinstance(task, StepByStep) else _first_questions(task)
    for messages, prefix in wanted:
        same = [body for body in asked if body["messages"] == messages]
        assert len(same) == samples, messages
        assert bool(prefix) == all(body.get("continue_final_message", False) for body in same)
    if not isinstance(task, StepByStep):
        assert len(asked) == samples * len(rows), "nothing else was asked"
    metrics = json.loads(Path("runs/mine/evaluate/metrics.json").read_text("utf-8"))
    assert metrics["critic"]["remark"] == "another prompt"
    assert metrics["label"] == (preset.name if preset.model else f"own ({preset.name})")
    assert "another prompt" in outcome.out
    if judged:
        assert metrics["roc_auc"] == 100
    else:
        assert (metrics["f1"], metrics["unparsed_rate"]) == (100, 0)
        assert metrics["label"] in Path("runs/mine/evaluate/table.md").read_text("utf-8")
        assert "another prompt" in Path("runs/mine/evaluate/table.md").read_text("utf-8")
    votes = 1 if preset.step_votes else samples
    assert {len(row.verdicts) for row in read_rows(Path("runs/mine/evaluate/verdicts.jsonl"), Judged)} == {votes}
    assert "results: runs/mine/evaluate/metrics.json" in outcome.out


def _messages(question: Any) -> list[dict[str, str]]:
    made = [{"role": one.role, "content": one.content} for one in question.messages]
    return [*made, {"role": "assistant", "content": question.prefix}] if question.prefix else made


def _questions(task: Any, rows: list[Any]) -> list[tuple[list[dict[str, str]], str]]:
    return [(_messages(question), question.prefix) for row in rows if (question := task.ask(row.item))]


def _first_questions(task: StepByStep) -> list[tuple[list[dict[str, str]], str]]:
    """What is asked first about each row. Later questions have replies in them."""
    return [(_messages(question), question.prefix) for row in ROWS if (question := task.ask_step(row.item, 1, []))]


GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "critics.json").read_text("utf-8"))


@pytest.mark.parametrize(("name", "case"), [(name, case) for case in GOLDEN for name in case["presets"]])
def test_what_a_preset_sends_is_what_its_source_says(name: str, case: dict[str, Any], command: Command, tmp_path: Path) -> None:
    """The first request on the wire, with the preset's own number of samples, and what its own form of verdict means."""
    folder = clone(tmp_path / "clone", critic(name))
    preset = critic(name, prompt=folder)
    judged = preset.form == "reference_answer"
    rows: list[Any] = ANSWERS if judged else ROWS
    (tmp_path / "rows.jsonl").write_bytes(encode(rows[0]) + b"\n" + encode(rows[1]) + b"\n")
    with FakeServer(model=preset.model or "own") as server:
        server.trouble = lambda count, body: says(
            reply("chat/completions", body, message={"role": "assistant", "content": _said(preset, body["messages"])})
        )
        outcome = command(
            "stage=evaluate", f"critic={name}", f"critic.prompt={folder}", "run=mine",
            f"benchmark={'preferences' if judged else 'examples'}", f"benchmark.path={tmp_path / 'rows.jsonl'}",
            "sampler=openai", f"sampler.urls={server.url}", "sampler.continues=true",
            *([] if preset.model else ["model=own"]), *(["task=pointwise"] if judged else []),
        )  # fmt: skip
    assert outcome.code == 0, outcome.err
    same = [body for body in server.asked if body["messages"] == case["messages"]]
    assert len(same) == case["samples"], [body["messages"] for body in server.asked[:1]]
    drawn = case["single"] if case["samples"] == 1 else case["vote"]
    for body in same:
        assert [body["temperature"], body["top_p"], body["max_tokens"]] == [*drawn, case["max_tokens"]]
        assert body.get("stop") == case.get("stop")
    for written, verdict in case.get("replies", []):
        task = preset.task()
        assert task is not None
        found = task.parse(written, task.ask(rows[0].item).context)
        assert (list(found) if isinstance(found, tuple) else found) == verdict, written


def test_every_preset_has_a_source_of_what_it_sends() -> None:
    assert sorted(name for case in GOLDEN for name in case["presets"]) == PRESETS


def test_an_option_comes_before_the_preset(command: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"".join(encode(row) + b"\n" for row in ROWS))
    with FakeServer(model="other") as server:
        words = [
            "stage=evaluate", "critic=deepcritic_7b_sft", "critic.prompt=own", "run=mine", "benchmark=examples", "model=other",
            f"benchmark.path={tmp_path / 'rows.jsonl'}", "sampler=openai", f"sampler.urls={server.url}", "critic.label=mine",
            "stage.temperature=0.25", "stage.max_tokens=77",
        ]  # fmt: skip
        outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert {(body["model"], body["temperature"], body["top_p"], body["max_tokens"]) for body in server.asked} == {
        ("other", 0.25, 0.9, 77)
    }
    table = Path("runs/mine/evaluate/table.md").read_text("utf-8")
    assert "mine (own prompt)" in table
    again = command(*words[:-3], "critic.label=yours", *words[-2:])
    assert again.code == 0, again.err
    assert "yours (own prompt)" in Path("runs/mine/evaluate/table.md").read_text("utf-8"), "a name can be given later"


def _recording(tmp_path: Path) -> list[str]:
    (tmp_path / "rows.jsonl").write_bytes(b"".join(encode(row) + b"\n" for row in ROWS))
    lines = [{"example_id": row.id, "sample": 0, "text": f"**Answer**: \\boxed{{{row.gold.first_error}}}"} for row in ROWS]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return [
        "stage=evaluate", "benchmark=examples", f"benchmark.path={tmp_path / 'rows.jsonl'}",
        f"stage.generations={tmp_path / 'replies.jsonl'}", "run=mine",
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["critic.label=Qwen3-32B", "model=Qwen3-32B"])
def test_a_recorded_run_has_a_name(command: Command, tmp_path: Path, word: str) -> None:
    outcome = command(*_recording(tmp_path), word)
    assert outcome.code == 0, outcome.err
    assert "| Qwen3-32B |" in Path("runs/mine/evaluate/table.md").read_text("utf-8")
    metrics = json.loads(Path("runs/mine/evaluate/metrics.json").read_text("utf-8"))
    assert metrics["label"] == "Qwen3-32B"
    assert metrics["model"].startswith("recorded#")


def test_recorded_replies_of_a_preset_say_that_their_prompt_is_not_known(command: Command, tmp_path: Path) -> None:
    outcome = command(*_recording(tmp_path), "critic=deepcritic_7b_sft")
    assert outcome.code == 0, outcome.err
    assert "DeepCritic-7B-SFT (prompt of the recording unknown)" in Path("runs/mine/evaluate/table.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["critic=deepcritic_7b_sft", "model=m"], "the prompt of DeepCritic-7B-SFT does not ship with this package"),
        (["critic=deepcritic_7b_sft", "critic.prompt=own", "task.system=Hm", "model=m"], "has its own prompt"),
        (["critic=deepcritic_7b_sft", "critic.prompt=own", "scorer=math_shepherd", "model=m"], "remove one of them"),
        (["critic.prompt=file.txt", "model=m"], "no critic is given"),
        (["critic=deepcritic_8b"], "deepcritic_7b"),
    ],
)
def test_what_does_not_go_together_is_said(command: Command, tmp_path: Path, words: list[str], said: str) -> None:
    given = [word for word in _recording(tmp_path) if not word.startswith("stage.generations")]
    outcome = command(*given, *words)
    assert outcome.code in (1, 2)
    assert said in outcome.err
    assert not re.search("Traceback", outcome.err)


def test_why_f1_is_unknown_is_said(command: Command, tmp_path: Path) -> None:
    words = _recording(tmp_path)
    (tmp_path / "rows.jsonl").write_bytes(encode(ROWS[0]) + b"\n")
    lines = (tmp_path / "replies.jsonl").read_text("utf-8").splitlines()
    (tmp_path / "replies.jsonl").write_text(lines[0] + "\n", "utf-8")
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert "F1 is unknown: " in outcome.out
    assert Generation is not None

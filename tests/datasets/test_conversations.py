"""Conversations to learn from: every form is read, and what would teach something false is refused by line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.datasets import conversations
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError, UsageError
from deepcritic.schema import ALL_CORRECT, Dialogue, Item, Message, encode
from deepcritic.tasks.first_error import FirstError
from deepcritic.tasks.pointwise import Pointwise

TASK = FirstError()
ASKED, REPLY = "Is 1 + 1 = 3 right?", "It is 2. \\boxed{1}"
TURNS = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": REPLY}]
SHARE = [{"from": "human", "value": ASKED}, {"from": "gpt", "value": REPLY}]
FORMS: dict[str, Any] = {
    "messages": {"messages": TURNS},
    "prompt and completion": {"prompt": ASKED, "completion": REPLY},
    "conversational prompt and completion": {"prompt": TURNS[:1], "completion": TURNS[1:]},
    "ShareGPT": {"conversations": SHARE},
    "parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": ASKED}]},
            {"role": "assistant", "content": [{"type": "text", "text": REPLY}]},
        ]
    },
    "our own": {"id": "a", "task": "first_error", "messages": TURNS, "verdict": 1},
    "our own without an id": {"task": "first_error", "messages": TURNS, "verdict": 1},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "jsonl.gz", "bom"])
def test_every_form_from_every_kind_of_file(tmp_path: Path, form: str, kind: str) -> None:
    path = tmp_path / f"rows.{kind if kind != 'bom' else 'jsonl'}"
    text = json.dumps([FORMS[form]]) if kind == "json" else json.dumps(FORMS[form])
    if kind == "parquet":
        pandas.DataFrame([FORMS[form]]).to_parquet(path)
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(("\ufeff" if kind == "bom" else "") + text, "utf-8")
    (dialogue,) = conversations.read(path, TASK)
    assert dialogue.messages == (Message(role="user", content=ASKED), Message(role="assistant", content=REPLY))
    assert (dialogue.task, dialogue.verdict) == ("first_error", 1)
    assert dialogue.id == ("a" if form == "our own" else dialogue.id)


def test_a_problem_with_its_critique_is_asked_as_the_task_asks() -> None:
    row = {"question": "1 + 1 + 1?", "steps": ["1 + 1 = 2", "2 + 1 = 4"], "critique": "It is 3.", "label": 1}
    (dialogue,) = conversations.read([row], TASK, columns={"problem": "question"}, index_base=0)
    item = Item(problem="1 + 1 + 1?", steps=("1 + 1 = 2", "2 + 1 = 4"))
    assert dialogue.messages[:-1] == TASK.ask(item).messages
    assert (dialogue.messages[-1].content, dialogue.verdict) == ("It is 3.\n\\boxed{2}", 2)
    said = {**row, "critique": "It is 3. \\boxed{2}"}
    (dialogue,) = conversations.read([said], TASK, columns={"problem": "question"}, index_base=0)
    assert dialogue.messages[-1].content == "It is 3. \\boxed{2}"
    marked = FirstError(marker="**Answer**:")
    (dialogue,) = conversations.read([row], marked, columns={"problem": "question"}, index_base=0)
    assert dialogue.messages[-1].content == "It is 3.\n**Answer**: \\boxed{2}"
    with pytest.raises(UsageError, match="index_base: not set, but required for labels in label"):
        list(conversations.read([row], TASK, columns={"problem": "question"}))


def test_a_system_turn_of_sharegpt() -> None:
    (dialogue,) = conversations.read([{"system": "Be short.", "conversations": SHARE}], TASK)
    assert [message.role for message in dialogue.messages] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": TURNS, "verdict": 2}, "verdict: the verdict differs from that of the reply; found 2; expected 1"),
        (
            {"id": "d", "task": "first_error", "messages": TURNS, "verdict": 2},
            "verdict: the verdict differs from that of the reply",
        ),
        ({"messages": [TURNS[0], {"role": "assistant", "content": ""}]}, r"messages\[1\].content: the reply is empty"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": " \n"}]}, r"messages\[1\].content: the reply is empty"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": None}]}, r"messages\[1\].content: the reply is empty"),
        ({"prompt": ASKED, "completion": "no box"}, r"messages\[1\].content: the reply has no readable verdict; found 'no box'"),
        ({"messages": [*TURNS[:1], {"role": "tool", "content": REPLY}]}, r"messages\[1\].role: unknown role; found 'tool'"),
        ({"conversations": [{"from": "bot", "value": "x"}]}, r"messages\[0\].role: unknown role; found 'bot'"),
        ({"messages": []}, "messages: the conversation has no messages"),
        ({"messages": TURNS[:1]}, r"messages\[0\].role: the last message is not from the assistant; found 'user'"),
        ({"messages": TURNS[1:]}, r"messages\[0\].role: the last message is not from the assistant; found 'assistant'"),
        ({"messages": "no list"}, "messages: wrong type"),
        ({"messages": [3]}, r"messages\[0\]: wrong type"),
        ({"task": "pointwise", "messages": TURNS}, "task: the dialogue belongs to another task; found 'pointwise'"),
        ({"text": "x"}, "not a conversation; found 'text'; expected messages, prompt and completion, conversations"),
        ({"problem": "p", "steps": ["a"]}, "critique: the field is missing"),
        (
            {"problem": "p", "steps": ["a"], "critique": "\\boxed{1}", "label": -1},
            "verdict: the verdict differs from that of the reply; found -1",
        ),
        ({"problem": "p", "steps": ["a"], "critique": "x", "label": 2}, "label: the label is outside the steps; found 2"),
    ],
)
def test_what_would_teach_something_false_is_refused_by_line(tmp_path: Path, row: Any, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "fine?", "completion": "\\boxed{-1}"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(InputError, match=f"rows.jsonl:2: {said}"):
        list(conversations.read(path, TASK, index_base=1))
    report = Report()
    assert len(list(conversations.read(path, TASK, index_base=1, max_bad=1, report=report))) == 1
    assert [error.line for error in report.bad] == [2]


def test_duplicates_are_counted_and_contradictions_named() -> None:
    other = {"messages": [TURNS[0], {"role": "assistant", "content": "All right. \\boxed{-1}"}]}
    again: dict[str, Any] = {"messages": [TURNS[0], {"role": "assistant", "content": "Two. \\boxed{1}"}]}
    report = Report()
    rows: list[Any] = [FORMS["messages"], FORMS["ShareGPT"], again, other, {"id": "x", **FORMS["messages"]}]
    found = list(conversations.read(rows, TASK, max_bad=1, report=report))
    assert [dialogue.verdict for dialogue in found] == [1, 1, 1]
    assert report.counts["duplicates"] == 1
    (bad,) = report.bad
    assert "list:4: verdict: duplicate question with another verdict; found -1; expected 1, as on line 1" in str(bad)
    with pytest.raises(InputError, match="list:2: id: duplicate id"):
        list(conversations.read([{"id": "x", **FORMS["messages"]}, {"id": "x", **again}], TASK))


def test_scores_that_were_shown_in_another_order() -> None:
    messages = (Message(role="user", content="?"), Message(role="assistant", content="\\boxed{3, 9}"))
    row = Dialogue(id="a", task="pointwise", messages=messages, verdict=(9, 3))
    (found,) = conversations.read([json.loads(encode(row))], Pointwise())
    assert found.verdict == [9, 3]
    with pytest.raises(InputError, match="the verdict differs from that of the reply"):
        list(conversations.read([{**json.loads(encode(row)), "verdict": [9, 4]}], Pointwise()))


@given(
    st.text(max_size=40),
    st.text(max_size=40),
    st.just(ALL_CORRECT) | st.integers(1, 9),
    st.sampled_from(["messages", "share", "pair"]),
)
def test_any_text_comes_back(asked: str, critique: str, verdict: int, form: str) -> None:
    reply = f"{critique}\n{TASK.format(verdict)}"
    rows: dict[str, Any] = {
        "messages": {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]},
        "share": {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": reply}]},
        "pair": {"prompt": f"q {asked}", "completion": reply},
    }
    if "think>" in critique:
        return
    (dialogue,) = conversations.read([rows[form]], TASK)
    assert dialogue.verdict == verdict
    assert dialogue.messages[-1].content == reply


def test_sft_takes_conversations_of_ones_own(command: Callable[..., Any], tmp_path: Path) -> None:
    rows = [{"problem": f"{n} + 1?", "steps": [f"{n} + 1 = 9"], "critique": "No.", "label": 1} for n in range(1, 5)]
    pandas.DataFrame(rows).to_parquet(tmp_path / "mine.parquet")
    words = ["stage=sft", "model=deepcritic://microworld/models/base", f"stage.dialogues={tmp_path}/mine.parquet", "run=mine"]
    assert "index_base: not set, but required for labels in label" in command(*words, "dry_run=true").err
    outcome = command(*words, "stage.index_base=1", "dry_run=true")
    assert outcome.code == 0, outcome.err
    assert "dry run, nothing was trained" in outcome.out
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps({**FORMS["messages"], "verdict": 2}) + "\n" for _ in range(3)))
    words[2] = f"stage.dialogues={tmp_path}/bad.jsonl"
    assert "bad.jsonl:1: verdict: the verdict differs from that of the reply; found 2; expected 1" in command(*words).err
    outcome = command(*words, "stage.max_bad=9")
    assert outcome.code == 1
    assert "no usable dialogue: 3 were set aside, the first: " in outcome.err

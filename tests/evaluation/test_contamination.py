"""Problems of a benchmark in data for training: found where they stand, and not where they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.datasets import processbench
from deepcritic.errors import InputError
from deepcritic.evaluation.contamination import RUN, Hit, Problems, overlaps, texts
from deepcritic.schema import Dialogue, Example, Item, Message, encode

LONG = "A farmer has 12 hens and each of them lays 3 eggs on every day of the week but Sunday . How many eggs are there ?"
OTHER = "A farmer has 14 hens and each of them lays 3 eggs on every day of the week but Sunday . How many eggs are there ?"
UNLIKE = "Two trains leave a town at noon , one to the north and one to the south . When are they 100 miles apart ?"


def _file(folder: Path, *rows: Any, name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return path


def test_the_same_problem_whatever_its_case_and_spaces() -> None:
    problems = Problems({"a": "Add 1 and 1", "b": LONG})
    assert problems.holds("  add\n1 AND\t1 ") == "a"
    assert problems.holds(LONG.replace(" ", "\n\n")) == "b"
    assert problems.holds("Add 1 and 2") is None
    assert problems.find(UNLIKE) == []


def test_within_a_longer_text_from_five_words_on() -> None:
    problems = Problems({"short": "What is it ?", "long": LONG})
    assert problems.holds(f"Check this. {LONG} Step 1: 12 * 3") == "long"
    assert problems.holds("Tell me: What is it ? Well?") is None


def test_a_changed_number_is_no_more_than_a_resemblance() -> None:
    (hit,) = Problems({"b": LONG}).find(OTHER)
    assert hit == Hit(("b",), exact=False)
    assert Problems({"b": LONG}).holds(OTHER) is None


def test_less_than_half_in_common_is_nothing() -> None:
    start = LONG.split()[: RUN + 1]
    assert Problems({"b": LONG}).find(" ".join(start) + " " + UNLIKE) == []


def test_a_problem_given_twice_has_both_names() -> None:
    assert Problems({"a": LONG, "b": LONG.upper()}).find(LONG) == [Hit(("a", "b"), exact=True)]


@given(st.text(), st.text(), st.text())
def test_a_text_holds_itself_and_what_is_put_into_it(before: str, problem: str, after: str) -> None:
    problems = Problems({"it": problem})
    words = problem.split()
    assert problems.holds(problem) == ("it" if words else None)
    inside = problems.holds(f"{before}\n{problem}\n{after}")
    assert inside == "it" or len(words) < 5


def test_rows_of_every_form(tmp_path: Path) -> None:
    item = Item(problem="one")
    dialogue = Dialogue(
        id="d", task="t", verdict=1, messages=(Message(role="user", content="two"), Message(role="assistant", content="no"))
    )
    path = _file(
        tmp_path, encode(Example(id="e", item=item, source="s")), encode(dialogue), {"Question": "three", "answer": "four"},
        {"question": {"problem": "five"}, "label": {}}, {"instruction": "six", "responses": []},
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "seven"}]},
        {"prompt": [{"role": "user", "content": "eight"}]}, {"conversations": [{"from": "human", "value": "nine"}]},
    )  # fmt: skip
    found = [(place.line, text) for place, text in texts(path)]
    assert found == list(enumerate(["one", "two", "three", "five", "six", "seven", "eight", "nine"], start=1))


def test_a_row_without_a_problem(tmp_path: Path) -> None:
    path = _file(tmp_path, {"problem": "p"}, {"text": "x", "problem": " "})
    with pytest.raises(
        InputError, match=r"data.jsonl:2: the row has no problem; found \['problem', 'text'\]; .*problem, question"
    ):
        list(texts(path))


def test_overlaps_name_the_first_place(tmp_path: Path) -> None:
    first = _file(tmp_path, {"problem": UNLIKE}, {"problem": OTHER})
    second = _file(tmp_path, {"problem": LONG}, {"problem": "of your own"}, name="more.jsonl")
    found = overlaps({"p1": LONG, "p2": LONG, "p3": UNLIKE, "p4": "of your own heart"}, [first, second])
    assert found == {
        "texts": {str(first): 2, str(second): 2},
        "held": {"p1": f"{second}:1", "p2": f"{second}:1", "p3": f"{first}:1"},
        "resembled": {},
    }
    assert overlaps({"p1": LONG}, [first])["resembled"] == {"p1": f"{first}:2"}


def test_the_real_files(datasets_dir: Path) -> None:
    # shared/datasets/README.md: one MATH training problem is in ProcessBench math; GSM8K train and test share none
    files = [datasets_dir / "processbench" / name for name in ("gsm8k.json", "math.json.gz")]
    rows = [row for file in files for row in processbench.read(file)]
    wanted = {row.id: row.item.problem for row in rows}
    train = [datasets_dir / "math" / "train_problems_and_answers.json.gz", datasets_dir / "gsm8k" / "train.jsonl.gz"]
    found = overlaps(wanted, train)
    assert list(found["held"]) == ["math-257"]
    assert len(found["resembled"]) < 40
    problems = Problems.of(files)
    (held,) = {problems.holds(text) for _, text in texts(train[0])} - {None}
    assert held is not None
    assert held.startswith(str(files[1]))
    assert all(problems.holds(row.item.problem) for row in rows)

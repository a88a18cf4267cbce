"""Rows: encoding, refusals that name the field, ids and seeds."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.schema import (
    ALL_CORRECT,
    UNLABELLED,
    Dialogue,
    Example,
    Generation,
    Gold,
    Item,
    Judged,
    Key,
    Message,
    Row,
    content_id,
    decode,
    encode,
    sample_seed,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.builds(Key, example_id=TEXT, request=TEXT, step=st.integers(0, 99), sample=st.integers(0, 99), parent=TEXT)
EXAMPLES = st.builds(
    Example,
    id=TEXT,
    item=st.builds(Item, problem=TEXT, steps=st.lists(TEXT, max_size=4).map(tuple), meta=st.dictionaries(TEXT, JSON, max_size=3)),
    gold=st.builds(
        Gold,
        first_error=st.just(UNLABELLED) | st.integers(-1, 9),
        step_ratings=st.none() | st.lists(st.sampled_from([None, -1, 0, 1]), max_size=4).map(tuple),
        reference_answer=st.none() | TEXT,
    ),
    source=TEXT,
    parent_id=st.none() | TEXT,
)
GENERATIONS = st.builds(
    Generation,
    key=KEYS,
    text=TEXT,
    finish_reason=st.sampled_from(["stop", "length"]),
    model=TEXT,
    fingerprint=TEXT,
    seed=st.integers(0, 2**63 - 1),
    context=JSON,
)
DIALOGUES = st.builds(
    Dialogue,
    id=TEXT,
    task=TEXT,
    messages=st.lists(st.builds(Message, role=TEXT, content=TEXT), max_size=3).map(tuple),
    verdict=st.integers(-1, 9),
)


@given(EXAMPLES | GENERATIONS | DIALOGUES)
def test_a_row_comes_back_as_it_went_and_takes_one_line(row: Row) -> None:
    line = encode(row)
    assert b"\n" not in line
    assert decode(line, type(row)) == row


@given(st.text(st.characters(), max_size=20))
def test_lone_surrogates_are_replaced_and_nothing_else_is(text: str) -> None:
    row = Example(id="a", item=Item(problem=text, meta={text: [text]}), source=text)
    back = decode(encode(row), Example)
    clean = text.encode("utf-8", "replace").decode()
    assert back == Example(id="a", item=Item(problem=clean, meta={clean: [clean]}), source=clean)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("text", ["plain", "null", "a lone \ud800"])
def test_a_number_that_json_cannot_hold_is_refused_by_name(number: float, text: str) -> None:
    key = Key(example_id=text, request="r")
    judged = Judged(id=text, gold=1, stratum="s", cluster="c", verdicts=(1, None), correct=number)
    deep = Example(id="a", item=Item(problem=text, meta={"a": [{"b": [1.5, number]}]}), source="s")
    drawn = Generation(
        key=key, text=text, finish_reason="stop", model="m", fingerprint="f", seed=0, context=[None, {"x": number}]
    )
    for row, field in ((judged, "correct"), (deep, "item.meta.a.0.b.1"), (drawn, "context.1.x")):
        with pytest.raises(InputError, match=r"not a finite number; found -?(nan|inf); expected a number, or null") as caught:
            encode(row)
        assert caught.value.field == field
    fine = Judged(id=text, gold=None, stratum="s", cluster="c", verdicts=(None,), correct=None, agreement=0.5)
    assert decode(encode(fine), Judged).correct is None


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        (b"not json", Item, "the line is not JSON; found 'not json'; expected one JSON object per line"),
        (b'{"problem": "\xff"}', Item, "the line is not JSON"),
        (b'{"problem": "\\ud800"}', Item, "the line is not JSON"),
        (b"", Item, "the line is not JSON"),
        (b'{"problem": 3, "ste', Item, "the line is not JSON"),
        (b"[1]", Item, r"Expected `object`, got `array`; found \[1\]; expected a row of type Item, schema 1"),
        (b'{"steps": []}', Item, "^problem: required field is missing; expected"),
        (b'{"problem": 3}', Item, "^problem: Expected `str`, got `int`; found 3; expected"),
        (b'{"problem": "p", "steps": ["a", 1]}', Item, r"^steps\[1\]: Expected `str`, got `int`; found 1;"),
        (b'{"problem": "p", "step": ["a"]}', Item, "^step: field is not declared; expected"),
        (b'{"id": "a", "source": "s", "item": {"problm": "p"}}', Example, "^item.problm: field is not declared"),
        (b'{"id": "a", "source": "s", "item": {}}', Example, "^item.problem: required field is missing"),
        (
            b'{"id": "a", "source": "s", "item": {"problem": "p"}, "gold": {"first_error": "x"}}',
            Example,
            "^gold.first_error: .*; found 'x'",
        ),
        (
            b'{"id": "a", "source": "s", "item": {"problem": "p"}, "schema": 2}',
            Example,
            "^schema: unknown schema version; found 2; expected schema 1, or a newer deepcritic",
        ),
    ],
)
def test_a_line_that_is_no_row(line: bytes, kind: type[Row], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        decode(line, kind)
    assert len(str(caught.value).splitlines()) == 1


def test_nesting_beyond_measure_is_refused_too() -> None:
    line = b'{"problem": "p", "meta": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    with pytest.raises(InputError):
        decode(line, Item)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_row_or_an_input_error(line: bytes) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(decode(line, Message), Message)


def test_unlabelled_is_neither_none_nor_a_step() -> None:
    row = Example(id="a", item=Item(problem="p"), source="s")
    back = decode(encode(row), Example)
    assert back.gold.first_error is UNLABELLED
    labels: set[object] = {None, 0, ALL_CORRECT}
    assert UNLABELLED not in labels
    assert b'"unlabelled"' in encode(row)


def test_rows_are_frozen() -> None:
    row: Any = Message(role="user", content="a")
    with pytest.raises(AttributeError):
        row.content = "b"


def test_an_id_follows_from_the_content_alone() -> None:
    first = content_id("made", "1 + 1?", ["2", "3"])
    assert first == content_id("made", "1 + 1?", ("2", "3"))
    assert first.startswith("made-")
    others = {content_id("made", "1 + 1?", ["23"]), content_id("made", "1 + 1?", ["2"]), content_id("made", "1 + 1?2", ["3"])}
    assert first not in others
    assert len(others) == 3


@given(st.integers(0, 2**32), KEYS, KEYS)
def test_a_seed_follows_from_the_run_and_the_key(run: int, one: Key, other: Key) -> None:
    assert 0 <= sample_seed(run, one) < 2**63
    assert sample_seed(run, one) == sample_seed(run, decode(encode(one), Key))
    assert sample_seed(run, one) != sample_seed(run + 1, one)
    place = (one.example_id, one.request, one.step, one.sample)
    if place != (other.example_id, other.request, other.step, other.sample):
        assert sample_seed(run, one) != sample_seed(run, other)


@given(st.integers(-(2**63), 2**63), st.text(), st.text(), st.integers(), st.integers())
def test_a_seed_is_the_hash_of_the_json_of_a_list(run: int, name: str, call: str, step: int, sample: int) -> None:
    """Seeds must stay what they are: runs go on where they were."""
    key = Key(example_id=name, request=call, step=step, sample=sample)
    digest = hashlib.blake2b(json.dumps([run, name, call, step, sample]).encode(), digest_size=8)
    assert sample_seed(run, key) == int.from_bytes(digest.digest(), "big") >> 1

"""Errors on one line: place, field, what was found, what was expected, how to fix it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepcritic.errors import DeepCriticError, InputError, RunConflict, StageIncomplete, UsageError


def test_every_part_is_named_in_order() -> None:
    error = InputError("wrong", file=Path("a.json"), line=3, field="label", found="x", expected="y", remedy="see z")
    assert str(error) == "a.json:3: label: wrong; found 'x'; expected y; see z"
    assert (error.file, error.line, error.field) == (Path("a.json"), 3, "label")
    assert (error.problem, error.found, error.expected, error.remedy) == ("wrong", "x", "y", "see z")


def test_other_parts_keep_the_rest() -> None:
    error = InputError("wrong", field="label", found="x", expected="y", remedy="see z").replace(file="b.json", line=4)
    assert str(error) == "b.json:4: label: wrong; found 'x'; expected y; see z"


def test_what_is_not_known_is_left_out() -> None:
    assert str(InputError("wrong")) == "wrong"
    assert str(InputError("wrong", file="a.json")) == "a.json: wrong"
    assert str(InputError("wrong", found=0)) == "wrong; found 0"


def test_long_values_are_shortened_and_line_ends_escaped() -> None:
    text = str(InputError("wrong", found="a\n" * 500))
    assert len(text) < 200
    assert "(1502 characters)" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("kind", "code"), [(DeepCriticError, 1), (InputError, 1), (RunConflict, 1), (UsageError, 2), (StageIncomplete, 3)]
)
def test_exit_codes(kind: type[DeepCriticError], code: int) -> None:
    assert kind("x").exit_code == code

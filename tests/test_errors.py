"""Errors on one line: place, field, what was found, what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepcritic.errors import DeepCriticError, InputError, RunConflict, StageIncomplete, UsageError


def test_every_part_is_named_in_order() -> None:
    error = InputError("wrong", file=Path("a.json"), line=3, field="label", found="x", remedy="y")
    assert str(error) == "a.json:3: label: wrong; found 'x'; would be right: y"
    assert (error.file, error.line, error.field, error.found, error.remedy) == (Path("a.json"), 3, "label", "x", "y")


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

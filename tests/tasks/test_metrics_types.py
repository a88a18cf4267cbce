"""The types of figures: what is not there is not made up, and what is unknown is refused."""

from __future__ import annotations

import msgspec
import pytest

from deepcritic.tasks import metrics_types
from deepcritic.tasks.metrics_types import FirstErrorFigures, Part, PointwiseFigures, ProofFigures, figures_of

KINDS = {FirstErrorFigures: {"f1": 50.0}, ProofFigures: {"mae": 10.0, "accuracy": 50.0}, PointwiseFigures: {"accuracy": 50.0}}
EMPTY: tuple[object, ...] = (None, 0, False, {}, (None, None))


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_that_is_not_given_is_none_and_a_count_is_0(kind: type[metrics_types.Figures]) -> None:
    given = KINDS[kind]
    found = figures_of(given)
    assert type(found) is kind
    for name in found.__struct_fields__:
        value = getattr(found, name)
        if name in given:
            assert value == given[name]
        elif name in ("samples", "full_marks"):
            assert value == 1, "one reply to a row, and one point at most"
        elif isinstance(value, msgspec.Struct):
            assert set(msgspec.to_builtins(value).values()) <= {0, None, ""}, name
        else:
            assert value in EMPTY, name


@pytest.mark.parametrize(
    "part", [one for one in vars(metrics_types).values() if isinstance(one, type) and issubclass(one, Part) and one is not Part]
)
def test_optional_parts_are_none_or_0(part: type[Part]) -> None:
    for field in msgspec.structs.fields(part):
        assert field.default in (msgspec.NODEFAULT, None, 0, False, (None, None)), field.name


def test_figures_of_no_known_task_are_counts() -> None:
    assert type(figures_of({"examples": 3})) is metrics_types.Figures
    assert type(figures_of({"roc_auc": 90.0})) is PointwiseFigures


@pytest.mark.parametrize("values", [{"f1": 50.0, "mae": 3.0}, {"accuracy": 50.0, "kappa": 0.0}, {"f1": "50"}])
def test_a_figure_of_another_task_or_type_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        figures_of(values)

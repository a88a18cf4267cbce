"""The published figures that ship, and results beside them."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepcritic.errors import InputError
from deepcritic.evaluation.load import Metrics
from deepcritic.evaluation.published import FILE, Figure, published, read_published
from deepcritic.evaluation.table import any_published, beside_published, markdown, print_table, write_table

CONF = Path(__file__).parents[2] / "conf" / "dataset"
HALVES = ("processbench/gsm8k", "processbench/math", "processbench/olympiadbench", "processbench/omnimath")


def _metrics(benchmark: str, f1: float | None = 50.0, rows: int = 400, **more: Any) -> dict[str, Any]:
    interval = [None, None] if f1 is None else [f1 - 1, f1 + 1]
    return {
        "benchmark": {"name": benchmark}, "examples": rows, "f1": f1, "f1_interval": interval,
        "constant_baseline_f1": 20.0, "samples": 1,
        **more,
    }  # fmt: skip


def _suite(*names: str) -> dict[str, Any]:
    parts = {name: _metrics(name, maj_f1=60.0, maj_f1_interval=[58.0, 62.0], samples=8) for name in names}
    means = {"mean_f1": 50.0, "mean_f1_interval": [49.0, 51.0], "mean_maj_f1": 60.0, "mean_maj_f1_interval": [59.0, 61.0]}
    return {"examples": 400 * len(names), "benchmarks": parts, **means}


def test_every_figure_has_its_source_and_date() -> None:
    known = published()
    assert len(known.figures) > 40
    for figure in known.figures:
        source = known.sources[figure.source]
        assert source.link.startswith(("https://arxiv.org/", "https://github.com/")), source.link
        if stamp := re.search(r"/(\d\d)(\d\d)\.\d{5}(v\d)?$", source.link):
            assert source.date[:7] == f"20{stamp[1]}-{stamp[2]}", source.link
        assert 0 < figure.f1 < 100
    assert len({(figure.name, figure.benchmark, figure.source) for figure in known.figures}) == len(known.figures)


def test_published_means_are_the_means_of_their_cells() -> None:
    known = published()
    checked = 0
    for figure in known.figures:
        cells = [
            one.f1 for one in known.figures
            if (one.name, one.source) == (figure.name, figure.source) and one.benchmark in known.sets.get(figure.benchmark, ())
        ]  # fmt: skip
        if len(cells) > 1:
            assert figure.f1 == pytest.approx(sum(cells) / len(cells), abs=0.0501), figure.name
            checked += 1
    assert checked == 22


def test_a_figure_at_second_hand_has_a_mark() -> None:
    by_state = {state: [figure for figure in published().figures if figure.state == state] for state in ("read", "second hand")}
    assert all(figure.confirmed for figure in by_state["read"])
    assert not any(figure.confirmed for figure in by_state["second hand"])
    assert min(len(figures) for figures in by_state.values()) > 15
    assert all(figure.quoted_by for figure in by_state["second hand"])
    assert not any(figure.quoted_by for figure in by_state["read"])


@pytest.mark.parametrize(("state", "quoted_by"), [("read", "notes"), ("second hand", None)])
def test_a_figure_at_second_hand_names_the_text_that_quotes_it(tmp_path: Path, state: str, quoted_by: str | None) -> None:
    found = yaml.safe_load((CONF.parents[1] / "data" / FILE).read_text("utf-8"))
    found["figures"] = [{**found["figures"][0], "state": state, "quoted_by": quoted_by}]
    (tmp_path / FILE).write_text(yaml.safe_dump(found), "utf-8")
    with pytest.raises(InputError, match="quoted_by"):
        read_published(tmp_path / FILE)


def test_the_field_of_late_2026_is_there() -> None:
    known = published()
    assert max(source.date for source in known.sources.values()) >= "2026-09"
    assert {"FARE-20B", "GPT-5", "R-PRM-7B-DPO", "GenPRM-32B", "Qwen2.5-Math-PRM-72B"} <= {
        figure.critic for figure in known.figures
    }
    assert len(known.systems) == 10
    assert all(system.license and system.result for system in known.systems)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "nowhere"}, "unknown source of GPT-4o"),
        ({"benchmark": "nothing"}, "unknown benchmark of GPT-4o"),
        ({"state": "recalled"}, "Invalid enum value 'recalled'"),
        ({"source": None}, "Expected `str`, got `null`"),
        ({"colour": "red"}, "unknown field `colour`"),
    ],
)
def test_a_figure_without_source_or_mark_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    figure = {"critic": "GPT-4o", "benchmark": "b", "f1": 1.0, "source": "s", "state": "read", **change}
    source = {"title": "t", "link": "https://arxiv.org/abs/2001.00001", "date": "2020-01-01"}
    content = {"sources": {"s": source}, "benchmarks": {"b": {"title": "B"}}, "sets": {}, "figures": [figure]}
    (tmp_path / "mine.yaml").write_text(json.dumps(content), "utf-8")
    with pytest.raises(InputError, match=said):
        read_published(tmp_path / "mine.yaml")


def test_results_stand_beside_published_ones_with_their_marks() -> None:
    entries = beside_published({"mine": Metrics.of(_metrics("processbench/math", rows=1000))})
    text = markdown(entries)
    assert "| mine | 50.0 (49.0 to 51.0) | this run |" in text
    assert "| baseline: best constant | 20.0 | this run |" in text
    assert "| GPT-4o | 63.6 | ProcessBench, 2024-12-09 |" in text
    assert "| R-PRM-7B-DPO | 76.9 | R-PRM, 2025-03-27 |" in text
    assert "unconfirmed" not in text
    text += markdown(beside_published({"mine": Metrics.of(_metrics("mr_gsm8k/original", rows=1418))}))
    assert "| GPT-4o | 69.7 unconfirmed | DeepCritic, 2025-05-01 |" in text
    assert "unconfirmed: quoted from a secondary source: notes on the paper" in text
    assert "https://arxiv.org/abs/2412.06559" in text
    for line in text.splitlines():
        if "unconfirmed" in line and line.startswith("|"):
            assert re.search(r", 20\d\d-\d\d-\d\d \|$", line)


def _by_column(metrics: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for entry in beside_published({"mine": Metrics.of(metrics)}):
        found.setdefault(entry.benchmark, {})[entry.critic] = entry.f1
    return found


def test_a_published_mean_is_shown_where_all_of_its_tests_were_run() -> None:
    four = _by_column(_suite(*HALVES))
    assert "mean" not in four
    assert {"mine": 50.0, "mine, Maj@8": 60.0, "baseline: best constant": 20.0, "GenPRM-7B, Maj@8": 80.5}.items() <= four[
        "ProcessBench mean"
    ].items()
    two = _by_column(_suite(*HALVES[:2]))
    assert two["mean"] == {"mine": 50.0, "mine, Maj@8": 60.0, "baseline: best constant": 20.0}
    assert "ProcessBench mean" not in two


def test_means_over_a_part_of_a_suite_stand_beside_their_own() -> None:
    group = {"f1": 55.0, "f1_interval": [54.0, 56.0], "parts": list(HALVES), "of": 4}
    five = _by_column({**_suite(*HALVES, "mr_ben"), "means": {"processbench": group}})
    assert (five["ProcessBench mean"]["mine"], five["mean"]["mine"]) == (55.0, 50.0)
    assert five["ProcessBench mean"]["o1-mini"] == 87.9
    assert five["mean"].keys() == {"mine", "mine, Maj@8", "baseline: best constant"}
    six = _by_column({**_suite(*HALVES, "mr_gsm8k/original", "prm800k"), "means": {"processbench": group}})
    assert six["DeepCritic mean"]["mine"] == 50.0
    assert six["DeepCritic mean"]["DeepCritic-7B-RL-PRM800K, Maj@8"] == 70.5
    assert six["ProcessBench mean"]["mine"] == 55.0
    assert "mean" not in six


def test_the_tests_have_the_names_that_evaluations_give_them() -> None:
    for name in published().benchmarks:
        benchmark, _, part = name.partition("/")
        config = yaml.safe_load((CONF / f"{benchmark}.yaml").read_text("utf-8"))
        assert bool(part) == bool(config.get("parts")), name
        assert not part or published().benchmarks[name].rows == config["parts"][part]


def test_other_numbers_of_rows_are_said() -> None:
    text = markdown(beside_published({"mine": Metrics.of(_metrics("mr_gsm8k/original", rows=709))}))
    assert "MR-GSM8K: 709 rows here, 1,418 in published results: not comparable." in text
    assert "rows here" not in markdown(beside_published({"mine": Metrics.of(_metrics("mr_gsm8k/original", rows=1418))}))


def test_a_test_that_nobody_published_on() -> None:
    entries = beside_published({"mine": Metrics.of(_metrics("my own", None))})
    assert not any_published(entries)
    assert "| mine | unknown | this run |" in markdown(entries)


def test_the_files_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = beside_published({name: Metrics.of(_suite(*HALVES)) for name in ("mine", "other")})
    write_table(tmp_path, entries)
    lines = json.loads((tmp_path / "table.json").read_text("utf-8"))
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(lines) == len(rows) == len(entries)
    for line, row in zip(lines, rows, strict=True):
        assert {name: "" if value is None else str(value) for name, value in line.items()} == row
        assert line["confirmed"] is None or (line["source"] and line["link"] and line["date"])
    print_table(entries)
    out = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text("utf-8") == markdown(entries)
    for entry in entries:
        assert entry.critic in out
    assert out.count("unconfirmed") == markdown(entries).count("unconfirmed")


def test_names() -> None:
    figure = Figure(critic="x", benchmark="b", f1=1.0, source="s", state="read", votes=8)
    assert figure.name == "x, Maj@8"


def test_the_file_goes_into_the_wheel_where_it_is_looked_for() -> None:
    root = Path(__file__).parents[2]
    build = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    included = build["targets"]["wheel"]["force-include"]
    assert included[f"data/{FILE}"] == f"deepcritic/{FILE}"
    assert all((root / source).exists() for source in included)

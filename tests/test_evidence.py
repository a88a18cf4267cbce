"""Files of evidence: what claims, what holds, and whether a file was made by what is here."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = sorted((ROOT / "data" / "evidence").glob("*.json"))
SCRIPTS = ROOT / "scripts" / "evidences"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a script by its name, for one test."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for file in SCRIPTS.glob("*.py"):
        monkeypatch.delitem(sys.modules, file.stem, raising=False)
    return importlib.import_module


def test_one_criterion_decides_a_claim(script: Any) -> None:
    rows = script("rows")
    wide, narrow = [1.0, 6.0, 2.0], [4.0, 4.2, 4.4]
    made = rows.row("a gain", [1, 2, 3], narrow, bounds=rows.ABOVE_ZERO)
    assert (made["kind"], made["holds"], made["fails_if"]) == ("claim", True, "the interval does not lie above 0")
    assert not rows.row("a gain", [1, 2, 3], wide, bounds=rows.ABOVE_ZERO)["holds"], (
        "each seed lies above 0, and that is no criterion"
    )
    assert not rows.row("a gain", [1, 2, 3], [0.0, 0.0, 0.0], bounds=rows.ABOVE_ZERO)["holds"]
    assert rows.row("a share of a single run", [1], [4.4], [(0.0, 8.8)], share=True)["interval"] == [0.0, 8.8]
    assert not rows.row("a gain of a single run without interval", [1], [5.0], bounds=rows.ABOVE_ZERO)["holds"]


def test_a_description_neither_holds_nor_fails(script: Any) -> None:
    made = script("rows").row("a share", [1, 2], [99.0, 99.9], [(98.0, 100.0), None], share=True)
    assert made["kind"] == "description"
    assert not {"holds", "fails_if"} & made.keys()
    assert made["interval"][1] <= 100
    assert [("interval" in one) for one in made["seeds"]] == [True, False]


@pytest.mark.parametrize(
    ("bounds", "values", "holds"),
    [({"at_most": 15.0}, [12.0, 12.1, 12.2], True), ({"at_most": 12.0}, [12.0, 12.1, 12.2], False),
     ({"at_least": 5.0, "at_most": 30.0}, [10.0, 10.1, 10.2], True), ({"at_least": 10.1}, [10.0, 10.1, 10.2], False)],
)  # fmt: skip
def test_bounds_are_of_the_whole_interval(script: Any, bounds: dict[str, float], values: list[float], holds: bool) -> None:
    rows = script("rows")
    assert rows.row("x", [1, 2, 3], values, bounds=rows.Bounds(**bounds))["holds"] is holds


@pytest.mark.parametrize("file", EVIDENCE, ids=lambda file: file.stem)
def test_every_row_is_a_claim_or_a_description(file: Path) -> None:
    content = json.loads(file.read_text("utf-8"))
    assert content["made_by"], "a file of evidence says what made it"
    for row in content["rows"]:
        assert row["kind"] in {"claim", "description"}
        assert ("holds" in row) == ("fails_if" in row) == (row["kind"] == "claim"), row["what"]


@pytest.mark.parametrize("file", EVIDENCE, ids=lambda file: file.stem)
def test_what_a_file_says_of_its_claims_follows_from_its_seeds(file: Path, script: Any) -> None:
    rows = script("rows")
    for one in json.loads(file.read_text("utf-8"))["rows"]:
        if one["kind"] == "claim":
            said = one["fails_if"].removeprefix("the interval does not lie ").split(" and ")
            words = {"above": "above", "at or above": "at_least", "at or below": "at_most"}
            bounds = {words[part.rpartition(" ")[0]]: float(part.rpartition(" ")[2]) for part in said}
            low, high = one["interval"] or (float("nan"), float("nan"))
            assert one["holds"] == rows.Bounds(**bounds).hold(low, high), one["what"]


def test_a_change_of_code_settings_or_models_makes_a_file_stale(script: Any, tmp_path: Path) -> None:
    made_by = script("made_by")
    now = made_by.made_by("seeds")
    assert made_by.changed("seeds", {"made_by": now}) == ""
    for part in now:
        assert made_by.changed("seeds", {"made_by": now | {part: "another"}}) == part
    assert made_by.changed("seeds", {}) == "package, settings, models"
    (tmp_path / "seeds.json").write_text(json.dumps({"made_by": now | {"models": "another"}}))
    assert made_by.stale(tmp_path) == [
        "stale: data/evidence/seeds.json: models changed since; scripts/evidence seeds makes it again"
    ]


def test_comments_and_docstrings_change_nothing_and_code_does(script: Any, tmp_path: Path) -> None:
    made_by, codes = script("made_by"), []
    for at, text in enumerate(('"""One."""\nx = 1\n', '"""Two."""\n# why\nx = 1\n', "x = 2\n")):
        (tmp_path / f"{at}.py").write_text(text)
        codes.append(made_by._code(tmp_path / f"{at}.py"))
    assert codes[0] == codes[1] != codes[2]


def test_what_a_script_needs_is_found(script: Any) -> None:
    made_by = script("made_by")
    text = (SCRIPTS / "main.py").read_text("utf-8")
    settings = {str(one.relative_to(made_by.CONF)) for one in made_by._settings([text])}
    assert {
        "experiment/demo.yaml",
        "experiment/microworld/rl.yaml",
        "stage/rl.yaml",
        "dataset/microworld_judged.yaml",
    } <= settings
    modules = made_by._closure(["deepcritic.stages.rl"])
    assert {"deepcritic.training.grpo", "deepcritic.stages.rl"} <= modules.keys()
    assert not [name for name in modules if name.startswith("deepcritic.cli")]


def test_no_page_for_newcomers_shows_a_stale_figure(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, readme = script("table"), (ROOT / "README.md").read_text("utf-8")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(table, "changed", lambda name, content: "package")
    stale = table.filled(readme)
    assert "scripts/evidence main` measures it again" in stale
    assert "| F1 after SFT |" not in stale
    monkeypatch.setattr(table, "changed", lambda name, content: "")
    assert "| F1 after SFT |" in table.filled(readme)

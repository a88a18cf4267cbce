"""README.md and docs/: commands and examples work, tables are those of their files, links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepcritic.cli.config import compose
from deepcritic.datasets import conversations, own
from deepcritic.datasets.table import read as table_rows
from deepcritic.microworld.source import written
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Dialogue, Example, Message, Preference, Row
from deepcritic.tasks.first_error import FirstError
from tests.samplers.server import FakeServer

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BASE = "deepcritic://microworld/models/base"
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_PLACE = re.compile(r"<!-- (evidence|bench|short) .*?<!-- end of [^>]*-->", re.DOTALL)


def _blocks(page: Path, language: str) -> Iterator[str]:
    for indent, kind, text in _BLOCK.findall(page.read_text("utf-8")):
        if kind == language:
            yield re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def _commands(page: Path) -> Iterator[list[str]]:
    """The words of every command of the package on a page, without those before it and comments behind it."""
    for block in _blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:3] == ["python", "-m", "deepcritic"]:
                yield words[3:]
            elif words[:2] == ["accelerate", "launch"] and "deepcritic" in words:
                yield words[words.index("deepcritic") + 1 :]


def _by_page(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=[str(page.relative_to(ROOT)) for page in pages])


def test_the_readme_is_short() -> None:
    assert len(README.read_bytes()) <= 8 * 1024


COMMANDS = [(page, words) for page in PAGES for words in _commands(page)]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page.name}: {' '.join(words)[:60]}" for page, words in COMMANDS])
def test_a_command_has_only_options_that_there_are(page: Path, words: list[str]) -> None:
    if words[0] == "serve":
        return
    if "--help" in words:
        words = [word for word in words if word != "--help"] or ["experiment=demo"]
    config = compose(words)
    assert config.stage is not None or config.pipeline is not None


# The commands of the README, run


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the README's commands name, as it stands there, and what stands for it here."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "labelled.jsonl", list(written(split="train", count=6, seed=0, lengths=[3, 4])))
    messages = (Message(role="user", content="1 + 1?"), Message(role="assistant", content="\\boxed{-1}"))
    dialogues = [Dialogue(id=f"d{at}", task="first_error", messages=messages, verdict=-1, source="made") for at in range(4)]
    write_rows(tmp_path / "dialogues.jsonl", dialogues)
    return {"DIALOGUES.jsonl": "dialogues.jsonl", "LABELLED.jsonl": "labelled.jsonl", "model=PATH": f"model={BASE}"}


SMALL = {
    "evaluate": ["benchmark.path={samples}/processbench.json", "stage.limit=2", "stage.max_tokens=24"],
    "sft": ["stage.max_steps=1", "stage.batch_size=2"],
    "rl": ["stage.steps=1", "stage.prompts_per_step=2", "stage.num_generations=2", "stage.device_batch_size=4",
           "stage.max_tokens=8", "stage.prefilter_samples=0"],
}  # fmt: skip
"""What cuts a command down to seconds."""


@pytest.mark.slow
def test_the_commands_of_the_readme_run(
    files: dict[str, str], samples_dir: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "made-up-for-this-test")
    commands = list(_commands(README))
    assert len(commands) >= 6
    with FakeServer() as server:
        for words in commands:
            given = [word.replace("https://api.openai.com/v1", server.url) for word in words]
            for name, here in files.items():
                given = [word.replace(name, here) for word in given]
            stage = given[0].partition("=")[2]
            more = [word.format(samples=samples_dir) for word in SMALL.get(stage, [])]
            outcome = command(*given, *more)
            assert outcome.code == 0, (words, outcome.err)


def test_the_shell_of_the_readme_names_what_there_is() -> None:
    text = "\n".join(_blocks(README, "bash"))
    for script in re.findall(r"^(scripts/\w+)", text, re.MULTILINE):
        assert os.access(ROOT / script, os.X_OK), script
    for extra in re.findall(r"deepcritic\[([\w,]+)\]", "".join(page.read_text("utf-8") for page in PAGES)):
        assert set(extra.split(",")) <= PROJECT["optional-dependencies"].keys(), extra


# Examples in Python


@pytest.mark.slow
@_by_page([README, ROOT / "docs" / "tutorials" / "use.md"])
def test_the_first_example_prints_what_it_says(page: Path, tmp_path: Path) -> None:
    code = next(_blocks(page, "python"))
    said = re.findall(r"print\(.*\)  # (.*)", code)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert said
    assert done.stdout.splitlines()[: len(said)] == said
    assert "\\boxed{4}" in done.stdout


PYTHON = [(page, code) for page in PAGES for code in _blocks(page, "python")]


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[f"{page.name}-{at}" for at, (page, _) in enumerate(PYTHON)])
def test_an_example_compiles_and_imports_what_there_is(page: Path, code: str) -> None:
    import ast

    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deepcritic"):
            module = importlib.import_module(node.module or "")
            assert all(hasattr(module, name.name) for name in node.names)


# Rows


KINDS = {"Labelled solutions": Example, "Problems with answers": Example, "Comparisons of responses": Preference}


@pytest.mark.parametrize(("heading", "kind"), KINDS.items())
def test_a_sample_row_is_read(heading: str, kind: type[Row], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(_sample(heading)[-1], "utf-8")
    (row,) = own.read(tmp_path / "rows.jsonl", kind)
    assert row.source == "mine"


def test_a_row_under_other_names_says_the_same() -> None:
    named, row = map(json.loads, _sample("Labelled solutions"))
    (found,) = table_rows([named], columns={"problem": "question", "steps": "solution_steps"}, index_base=0)
    assert (found.item.problem, list(found.item.steps)) == (row["item"]["problem"], row["item"]["steps"])
    assert found.gold.first_error == row["gold"]["first_error"]


def test_each_form_of_a_dialogue_is_read() -> None:
    rows = [json.loads(text) for text in _sample("Dialogues")]
    assert len(rows) == 4
    for row in rows:
        (dialogue,) = conversations.read([row], FirstError(), index_base=1)
        assert dialogue.verdict == 2


def _sample(heading: str) -> list[str]:
    text = (ROOT / "docs" / "tutorials" / "train.md").read_text("utf-8")
    part = text.split(f"### {heading}\n")[1].split("\n### ")[0]
    return re.findall(r"```json\n(.*?)```", part, re.DOTALL)


# Tables, numbers, pictures


@pytest.fixture(scope="module")
def table() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "evidences"))
        return _script("evidences/table.py")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"script_{Path(name).stem}", ROOT / "scripts" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@_by_page(PAGES)
def test_the_tables_are_those_of_their_files(page: Path, table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = page.read_text("utf-8")
    assert table.filled(text) == text, "run scripts/evidence table"


@_by_page([README, *sorted((ROOT / "docs" / "results").glob("*.md")), ROOT / "docs" / "performance.md"])
def test_no_result_is_written_by_hand(page: Path) -> None:
    """Figures stand in generated tables. What has a decimal point beside them is a version or a setting."""
    text = _PLACE.sub("", page.read_text("utf-8"))
    text = re.sub(r"```.*?```|`[^`]*`|https?://\S+", "", text, flags=re.DOTALL)
    text = re.sub(r"temperature \d\.\d|top_p \d\.\d|Python 3\.11 to 3\.13|Apache-2\.0", "", text)
    assert not re.findall(r"\d+\.\d+", text)


def test_every_file_of_evidence_has_its_page() -> None:
    named = set(re.findall(r"<!-- (evidence|bench) (\w+) -->", "".join(page.read_text("utf-8") for page in PAGES)))
    assert named == {(kind, file.stem) for kind in ("evidence", "bench") for file in (ROOT / "data" / kind).glob("*.json")}


def test_the_picture_shows_the_figures_of_the_evidence() -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib: pip install deepcritic[report]")
    drawn, overview = (ROOT / "docs" / "images" / "overview.svg").read_text("utf-8"), _script("overview.py")
    assert all(f">{row['estimate']:.1f}<" in drawn for row in overview.found()), "run scripts/overview.py"


# Links and structure


@_by_page(PAGES)
def test_links_into_the_repository_lead_somewhere(page: Path) -> None:
    repository, site = PROJECT["urls"]["Repository"], PROJECT["urls"]["Documentation"]
    text = page.read_text("utf-8")
    for path in re.findall(rf"{re.escape(repository)}/(?:blob|tree)/main/([^)#\s]+)", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"https://raw\.githubusercontent\.com/deepcritic/deepcritic/main/([^)\s]+)", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(rf"{re.escape(site)}([^)#\s]*)", text):
        place = ROOT / "docs" / path.strip("/")
        assert place.with_suffix(".md").exists() or (place / "index.md").exists(), path


def test_pictures_of_the_readme_are_absolute_for_package_indexes() -> None:
    assert all(link.startswith("https://") for link in re.findall(r"\]\(([^)]+)\)", README.read_text("utf-8")))


def test_one_address_everywhere() -> None:
    site = re.findall(r"^(?:site_url|repo_url): (\S+)", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    cited = re.findall(r"^(?:repository-code|url): (\S+)", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert set(site) == set(cited) == {PROJECT["urls"]["Repository"], PROJECT["urls"]["Documentation"]}


def test_forty_questions_are_answered() -> None:
    text = (ROOT / "docs" / "faq.md").read_text("utf-8")
    parts = re.split(r"^### (\d+)\. .*\n", text, flags=re.MULTILINE)
    assert [int(number) for number in parts[1::2]] == list(range(1, 41))
    assert all(len(answer.split("\n## ")[0].strip()) > 15 for answer in parts[2::2])


def test_the_site_builds() -> None:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip("the site needs MkDocs: scripts/docs builds it in an environment of its own")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_rows_of_evidence_are_numbers() -> None:
    for file in (ROOT / "data" / "evidence").glob("*.json"):
        assert all(isinstance(row["estimate"], float | int) for row in json.loads(file.read_text("utf-8"))["rows"])


def test_stable_modules_are_there() -> None:
    text = (ROOT / "docs" / "stable.md").read_text("utf-8")
    modules = set(re.findall(r"`(deepcritic(?:\.\w+)+)`", text))
    assert len(modules) > 8
    assert all(importlib.util.find_spec(module) for module in modules)

"""The package without its optional packages: each way into one ends in one clear line that names the extra."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deepcritic import extras
from deepcritic.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DISTRIBUTION = {
    "yaml": "pyyaml", "hydra": "hydra-core", "math_verify": "math-verify", "latex2sympy2_extended": "latex2sympy2-extended",
    "inspect_ai": "inspect-ai", "prometheus_client": "prometheus-client",
}  # fmt: skip
"""Packages whose name on an index is not the one that is imported."""
INSTALLED_BY_HAND = {"flash_attn", "bitsandbytes", "liger_kernel"}
BASE = "deepcritic://microworld/models/base"
BLOCK = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # an import of it is a ModuleNotFoundError, and find_spec finds nothing
from deepcritic.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


def _requirements(*groups: str) -> set[str]:
    """The names of the distributions that the base (no group) or some extras install, extras of extras too."""
    optional = PROJECT["optional-dependencies"]
    found, waiting = set(), [line for group in groups for line in optional[group]] if groups else [*PROJECT["dependencies"]]
    while waiting:
        line = waiting.pop()
        own = re.fullmatch(r"deepcritic\[(.*)\]", line)
        if own:
            waiting.extend(entry for group in own[1].split(",") for entry in optional[group])
        else:
            name = re.match(r"[\w.-]+", line)
            assert name
            found.add(name[0].lower())
    return found


def _imported(folder: Path) -> dict[str, set[str]]:
    """Every package from outside that files of `folder` import, with the files."""
    found: dict[str, set[str]] = {}
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"deepcritic"}:
                found.setdefault(name, set()).add(str(file.relative_to(ROOT)))
    return found


def test_every_package_that_is_imported_is_declared() -> None:
    base = _requirements()
    for package, files in _imported(ROOT / "deepcritic").items():
        if package in INSTALLED_BY_HAND:
            continue
        name = DISTRIBUTION.get(package, package)
        if name not in base:
            assert package in extras.EXTRA_OF, f"{package} is imported in {sorted(files)} and no extra declares it"


@pytest.mark.parametrize(("package", "extra"), extras.EXTRA_OF.items())
def test_the_extra_that_is_named_installs_the_package(package: str, extra: str) -> None:
    assert DISTRIBUTION.get(package, package) in _requirements(extra)


@pytest.mark.parametrize("stage", extras.PACKAGES_OF_STAGE)
def test_the_extra_of_a_stage_installs_all_that_it_needs(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in extras.PACKAGES_OF_STAGE[stage]:
        with monkeypatch.context() as blocked:
            blocked.setitem(sys.modules, package, None)
            with pytest.raises(UsageError) as caught:
                extras.require_for_stages(stage)
        named = re.fullmatch(rf"stage={stage}: not installed: {package}; pip install 'deepcritic\[(\w+)\]'", str(caught.value))
        assert named, caught.value
        wanted = {DISTRIBUTION.get(name, name) for name in extras.PACKAGES_OF_STAGE[stage]}
        assert wanted <= _requirements(named[1]), "one installation must be enough"


def test_several_stages_name_all_their_extras_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("trl", "jinja2"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=r"stage=sft, stage=report: not installed: trl, jinja2; .*'deepcritic\[train,report\]'"):
        extras.require_for_stages("evaluate", "sft", "report")


LOCAL = ("torch", "transformers")
TRAINING = ("torch", "trl", "accelerate", "datasets")
EVALUATE = ["stage=evaluate", "benchmark=processbench", "run=a"]
ON_SAMPLE = [*EVALUATE, "benchmark.path={sample}", f"model={BASE}"]
SERVER = ["sampler=openai", "sampler.urls=[http://127.0.0.1:9/v1]"]
WAYS = [
    *((missing, ON_SAMPLE, "transformers") for missing in LOCAL),
    *((missing, ["stage=critique", f"model={BASE}", "input=@{solution}"], "transformers") for missing in LOCAL),
    *((missing, ["stage=sft", f"model={BASE}", "stage.dialogues={sample}", "run=a"], "train") for missing in TRAINING),
    ("trl", ["stage=rl", f"model={BASE}", "stage.examples={sample}", "run=a"], "train"),
    ("trl", ["experiment=demo", "debug=smoke"], "train"),
    ("matplotlib", ["experiment=demo", "debug=smoke"], "report"),
    ("matplotlib", ["stage=report", "run={run}"], "report"),
    ("jinja2", ["stage=report", "run={run}"], "report"),
    ("inspect_ai", ["stage=export", "run={run}"], "inspect"),
    ("vllm", [*ON_SAMPLE, "sampler=vllm"], "vllm"),
    ("litellm", [*EVALUATE, "benchmark.path={sample}", "model=anthropic/claude-sonnet-4-5", "sampler=litellm"], "litellm"),
    ("ray", [*ON_SAMPLE, "sampler=ray"], "ray"),
    ("datasets", [*EVALUATE, "stage.generations={replies}"], "datasets"),
    ("huggingface_hub", [*EVALUATE, "benchmark.path={sample}", "stage.generations={replies}", "push=org/name"], "datasets"),
    ("transformers", [*ON_SAMPLE, *SERVER, f"sampler.tokenizer={BASE}"], "transformers"),
    ("torch", [*ON_SAMPLE, "scorer=prm", "stage.threshold=0.5"], "transformers"),
]
"""What is missing, a command that needs it, and the extra that its error must name."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files that the commands name, and a run folder with a finished evaluation of recorded replies."""
    folder = tmp_path_factory.mktemp("places")
    sample = ROOT / "data" / "samples" / "processbench.json"
    (folder / "solution.txt").write_text("1 + 1?\n---\nStep 1: 2", "utf-8")
    ids = re.findall(r'"id": *"([^"]+)"', sample.read_text("utf-8"))
    rows = [f'{{"example_id": "{one}", "sample": 0, "text": "\\\\boxed{{-1}}"}}\n' for one in ids]
    (folder / "replies.jsonl").write_text("".join(rows), "utf-8")
    found = {"sample": str(sample), "solution": str(folder / "solution.txt"), "replies": str(folder / "replies.jsonl")}
    words = ["stage=evaluate", "benchmark=processbench", f"benchmark.path={sample}", f"stage.generations={found['replies']}"]
    made = _without("trl", [*words, "run=whole"], folder)
    assert made.returncode == 0, made.stderr
    return found | {"run": "whole", "folder": str(folder)}


def _without(packages: str, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCK, packages, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(("missing", "words", "extra"), WAYS, ids=[f"{way[0]}-{way[1][0]}-{at}" for at, way in enumerate(WAYS)])
def test_a_missing_package_is_one_line(missing: str, words: list[str], extra: str, places: dict[str, str]) -> None:
    done = _without(missing, [word.format(**places) for word in words], Path(places["folder"]))
    assert done.returncode in {1, 2}, done.stderr
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    assert lines, done.stdout
    assert f"deepcritic[{extra}]" in lines[-1]
    assert lines[-1].startswith("error: ")


def test_a_critic_in_a_program_says_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepcritic import Critic

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"pip install 'deepcritic\[transformers\]'"), Critic(BASE) as critic:
        critic.critique("1 + 1?", "Step 1: 2")

"""Imports point one way, Hydra stays at the door, and nothing that comes out of data is ever run as code."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "deepcritic"
LEVELS = (
    {"errors", "extras", "options", "schema", "shipped_models", "text", "metrics"},
    {"runs", "hub", "answers"},
    {"tasks", "datasets"},
    {"samplers", "scorers"},
    {"rewards", "evaluation", "labels", "training", "seeding", "microworld", "smallworld", "report"},
    {"critic", "refining", "selecting", "service", "stages"},
    {"cli"},
    {"__main__"},
)
"""A folder imports from its own level and from those before it. Folders of one level do not import each other in a circle."""
FILES = sorted(PACKAGE.rglob("*.py"))
LINT = {
    "S307": "eval(text)",
    "S102": "exec(text)",
    "S301": "import pickle\n\npickle.loads(text)",
    "S506": "import yaml\n\nyaml.load(text, yaml.Loader)",
    "S602": "import subprocess\n\nsubprocess.run(text, shell=True)",
    "S605": "import os\n\nos.system(text)",
    "TID251": "from sympy.parsing.sympy_parser import parse_expr",
}
"""What the linter refuses anywhere, by the rule that does."""
MORE_BANNED = [
    "from sympy import sympify", "import sympy\n\nsympy.sympify(text)", "from sympy import parse_expr", "from sympy import S",
    "from sympy import lambdify", "from sympy.core.sympify import sympify", "from sympy.parsing import parse_expr",
    "import sympy.parsing.sympy_parser as p\n\np.parse_expr(text)", "import torch\n\ntorch.load(text)", "import joblib",
    "import dill", "import shelve", "from yaml import unsafe_load",
]  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "parse_expr", "sympify", "parse_latex", "latex2sympy", "__import__", "breakpoint"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _level(part: str) -> int:
    return next(level for level, parts in enumerate(LEVELS) if part in parts)


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))


def _imports(file: Path, *, at_run_time: bool = True) -> Iterator[str]:
    """Every module that a file imports, inside functions too; without those for the type checker alone if `at_run_time`."""
    waiting: list[ast.AST] = [_tree(file)]
    while waiting:
        node = waiting.pop()
        if at_run_time and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names if (PACKAGE / f"{name.name}.py").exists())
        waiting.extend(ast.iter_child_nodes(node))


def _ours(file: Path, *, at_run_time: bool = True) -> set[str]:
    return {name for name in _imports(file, at_run_time=at_run_time) if name.partition(".")[0] == "deepcritic"}


def _by_file(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", files, ids=[str(file.relative_to(PACKAGE)) for file in files])


def test_every_part_has_its_level() -> None:
    parts = {_part(_module(file)) for file in FILES} - {""}
    assert not parts - set().union(*LEVELS), "say in LEVELS where it stands"


@_by_file(FILES)
def test_imports_point_one_way(file: Path) -> None:
    part = _part(_module(file))
    for name in _ours(file, at_run_time=not part):  # the package names what it offers for type checkers alone
        if _part(name) not in {"", part}:
            assert part, f"the package itself imports {name}"
            assert _level(_part(name)) <= _level(part), f"{_module(file)} imports {name}"


@_by_file([file for file in FILES if _part(_module(file)) not in {"stages", "cli", "__main__"}])
def test_nothing_imports_stages_but_the_command_line(file: Path) -> None:
    assert not {name for name in _ours(file) if _part(name) in {"stages", "__main__"}}


@_by_file([file for file in FILES if _part(_module(file)) == "datasets"])
def test_data_sets_know_the_schema_and_text_alone(file: Path) -> None:
    assert {_part(name) for name in _ours(file)} <= {"", "errors", "schema", "text", "metrics", "datasets"}


@_by_file([file for file in FILES if _part(_module(file)) == "tasks"])
def test_tasks_know_no_sampler_and_no_data_set(file: Path) -> None:
    assert not {_part(name) for name in _ours(file)} & {"samplers", "scorers", "datasets", "runs"}


@_by_file([file for file in FILES if _part(_module(file)) not in {"cli", "__main__"}])
def test_hydra_stays_at_the_door(file: Path) -> None:
    assert not {name.partition(".")[0] for name in _imports(file, at_run_time=False)} & {"hydra", "omegaconf"}


def test_no_circles_between_folders() -> None:
    imports: dict[str, set[str]] = {}
    for file in FILES:
        part = _part(_module(file))
        imports.setdefault(part, set()).update({_part(name) for name in _ours(file)} - {"", part})
    del imports[""]  # the package itself only names what it offers
    while imports:
        free = {part for part, others in imports.items() if not others & imports.keys()}
        assert free, (
            f"these folders import one another in a circle: { {part: imports[part] & imports.keys() for part in imports} }"
        )
        imports = {part: others for part, others in imports.items() if part not in free}


def test_no_circles() -> None:
    modules = {_module(file): file for file in FILES}
    imports = {name: {other for other in _ours(file) if other in modules and other != name} for name, file in modules.items()}
    while imports:
        free = {name for name, others in imports.items() if not others & imports.keys()}
        assert free, f"these import one another in a circle: {sorted(imports)}"
        imports = {name: others for name, others in imports.items() if name not in free}


@_by_file(FILES)
def test_nothing_is_run_as_code(file: Path) -> None:
    assert not {name.partition(".")[0] for name in _imports(file)} & FORBIDDEN_MODULES
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                name = node.func.attr if owner in {"sympy", "builtins", "sympy.parsing.sympy_parser"} else ""
                assert (owner, node.func.attr) not in {("torch", "load"), ("yaml", "load")}, f"{file}:{node.lineno}"
            assert name not in FORBIDDEN_CALLS, f"{file}:{node.lineno}: {name}"
            for keyword in node.keywords:
                if keyword.arg in {"trust_remote_code", "allow_pickle", "shell"}:
                    assert isinstance(keyword.value, ast.Constant), f"{file}:{node.lineno}"
                    assert keyword.value.value is False, f"{file}:{node.lineno}: {keyword.arg}"


@pytest.mark.parametrize(("rule", "code"), [*LINT.items(), *(("TID251", code) for code in MORE_BANNED)])
def test_the_linter_refuses_what_runs_text(rule: str, code: str) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed: pip install 'deepcritic[dev]'")
    checked = [ruff, "check", "--output-format=concise", "--stdin-filename", str(PACKAGE / "made_up.py"), "-"]
    found = subprocess.run(checked, input=f"text = input()\n{code}\n", capture_output=True, text=True, check=False)
    assert f" {rule} " in found.stdout, found.stdout + found.stderr


@_by_file([file for file in FILES if file.name not in {"algebra.py", "bounds.py", "formulas.py", "latex.py"}])
def test_sympy_stays_in_the_process_that_can_be_killed(file: Path) -> None:
    assert not {name.partition(".")[0] for name in _imports(file)} & {"sympy", "math_verify", "latex2sympy2_extended"}


@_by_file(FILES)
def test_every_file_says_what_it_is(file: Path) -> None:
    tree = _tree(file)
    assert ast.get_docstring(tree) or not tree.body, f"{file} has no docstring"

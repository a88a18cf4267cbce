"""Mutation testing: whether the tests find small faults in metrics, votes, labels, parsing and tasks.

    scripts/mutants --sample 350 --seed 3          # writes data/mutants.json
    scripts/mutants --only deepcritic/labels       # no file, only lines; --list shows the faults

All is done in a copy of the repository. One run of the tests records which lines each test executes. Each sampled fault
(`faults.py`) is then made alone, and the tests that execute its lines run in a forked process until one fails:

- `killed`: a test failed; `survived`: all passed, or none executes the line
- `timeout`: the tests did not end in four times their usual time; it does not count as killed
- `invalid`: the module can no longer be imported; it does not count

Outcomes are appended to build/mutants/*.jsonl as they arrive, so a run that was killed continues where it stopped. The sample
is a simple random one of all faults, and the share of killed faults has its Wilson interval.
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from faults import Fault, faults
from hypothesis import Phase, settings

ROOT: Final = Path(__file__).resolve().parents[2]
TARGETS: Final = (
    "deepcritic/metrics", "deepcritic/labels", "deepcritic/tasks",
    "deepcritic/text/parsing.py", "deepcritic/text/verdict.py", "deepcritic/text/numerals.py",
)  # fmt: skip
TESTS: Final = (
    "tests/metrics", "tests/labels", "tests/tasks", "tests/text", "tests/evaluation", "tests/test_critic.py",
    "tests/test_thoughts.py", "tests/test_selecting.py", "tests/training/test_meta_reward.py", "tests/stages/test_solve.py",
    "tests/stages/test_rollout.py", "tests/stages/test_label.py", "tests/stages/test_prepare.py",
    "tests/stages/test_evaluate_proof.py", "tests/stages/test_vote.py",
)  # fmt: skip
"""Where tests of the targets are, besides the doctests of their own files."""
LIBRARIES: Final = {
    "aiohttp", "antlr4", "attr", "hydra", "hypothesis", "msgspec", "multidict", "numpy", "omegaconf", "rich", "scipy", "yaml",
    "yarl",
}  # fmt: skip
"""Loaded once, before the processes are forked."""
SCRIPTS: Final = ("scripts/mutating/run.py", "scripts/mutating/faults.py")
MOST_SECONDS: Final = 5.0
"""Of the tests that execute a line, so many seconds run: of those of the file's folder, and then of others."""
EQUIVALENT: Final = ROOT / "scripts" / "mutating" / "equivalent.json"
"""Why a surviving fault changes nothing that a test could see: by file, then by `line | change`."""
RESULT: Final = ROOT / "data" / "mutants.json"
WORK: Final = ROOT / "build" / "mutants"


class Mutant(NamedTuple):
    file: str
    fault: Fault
    text: str
    """The line, and the change in it."""

    @property
    def id(self) -> str:
        return f"{self.file}:{self.fault.start}-{self.fault.end} {self.fault.new.decode()}"


class Reach(NamedTuple):
    """What the tests execute: for each test its seconds and, by file, its lines; the other modules that they load; and the files
    whose lines are not known, as they have changed since."""

    tests: dict[str, tuple[float, dict[str, set[int]]]]
    modules: list[str]
    changed: set[str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description="Makes small faults and counts those that a test finds.")
    parser.add_argument("--sample", type=int, default=350, help="faults to draw; 0 takes all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", help="only files whose path starts with this; nothing is written to data/")
    parser.add_argument("--list", action="store_true", help="only list the sampled faults")
    args = parser.parse_args()
    every = [one for file in targets() for one in mutants(file)]
    pool = [one for one in every if one.file.startswith(args.only)]
    random.Random(args.seed).shuffle(pool)  # so a larger sample holds a smaller one
    chosen = pool[: args.sample or None]
    if args.list:
        print("\n".join(f"{one.file}:{one.fault.line}  {one.text}" for one in chosen))
        return
    outcomes = run(chosen)
    found = summary(chosen, outcomes)
    print(json.dumps(found["total"]))
    if not args.only:
        head = {"command": f"scripts/mutants --sample {args.sample} --seed {args.seed}", "faults": len(every), "state": state()}
        RESULT.write_text(json.dumps({**head, **found}, indent=1, ensure_ascii=False) + "\n", "utf-8")


def targets() -> list[str]:
    files = [file for name in TARGETS for file in ([ROOT / name] if name.endswith(".py") else sorted((ROOT / name).glob("*.py")))]
    return [file.relative_to(ROOT).as_posix() for file in files]


def mutants(file: str) -> list[Mutant]:
    source = (ROOT / file).read_bytes()
    lines = source.decode().split("\n")
    found = []
    for fault in faults(source):
        old = " ".join(source[fault.start : fault.end].decode().split())
        found.append(
            Mutant(file, fault, f"{lines[fault.line - 1].strip()} | {old or 'nothing'} -> {fault.new.decode() or 'nothing'}")
        )
    return found


def test_files() -> list[str]:
    files = [
        file for name in TESTS for file in ([ROOT / name] if name.endswith(".py") else sorted((ROOT / name).glob("test_*.py")))
    ]
    return [file.relative_to(ROOT).as_posix() for file in files]


def _golden(name: str) -> list[str]:
    """The tables of cases that a file of tests names."""
    text = (ROOT / name).read_text("utf-8")
    return [f"tests/golden/{one.name}" for one in sorted((ROOT / "tests" / "golden").glob("*.json")) if one.name in text]


def state() -> str:
    """A hash of the code, the tests and these scripts."""
    tests = test_files()
    return _digest([*targets(), *tests, *(one for name in tests for one in _golden(name)), *SCRIPTS])


def _digest(names: Iterable[str]) -> str:
    whole = hashlib.sha256()
    for name in names:
        whole.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    return whole.hexdigest()[:16]


def run(chosen: Iterable[Mutant]) -> dict[str, str]:
    """The outcome of each mutant by its id."""
    WORK.mkdir(parents=True, exist_ok=True)
    log = WORK / f"{state()}.jsonl"
    known = [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []
    outcomes = {row["id"]: row["outcome"] for row in known}
    waiting = [one for one in chosen if one.id not in outcomes]
    if not waiting:
        return outcomes
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        copy_to(tree)
        reach = reached(tree, WORK / "reach.json")
        # With all bytecode in place and the libraries loaded, a forked process is ready in a second.
        forked(lambda: int(pytest.main([*PYTEST, "--collect-only", *test_files(), *targets()])), tree, WORK / "collect.txt", 600)
        for module in [name for name in reach.modules if name.partition(".")[0] in LIBRARIES]:
            try:
                importlib.import_module(module)
            except Exception:  # some modules only load inside a program of their own
                continue
        for file in targets():
            for cached in (tree / file).parent.glob(f"__pycache__/{Path(file).stem}.*"):
                cached.unlink()
        sys.dont_write_bytecode = True
        with log.open("a", encoding="utf-8") as written:
            for number, one in enumerate(waiting, start=1):
                outcome, seconds, shown = tried(one, tree, reach)
                outcomes[one.id] = outcome
                row = {
                    "id": one.id,
                    "outcome": outcome,
                    "seconds": round(seconds, 2),
                    "text": one.text,
                    "line": one.fault.line,
                    "shown": shown,
                }
                written.write(json.dumps(row, ensure_ascii=False) + "\n")
                written.flush()
                print(
                    f"{number}/{len(waiting)} {outcome:<9}{seconds:5.1f} s  {one.file}:{one.fault.line}  {one.text}", flush=True
                )
    return outcomes


def copy_to(tree: Path) -> None:
    """The files of the repository, as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def reached(tree: Path, saved: Path) -> Reach:
    """What the tests execute. Files of tests that have not changed since the last time are not run again.

    Of code that has changed since, only the tests that execute anything of it are known.
    """
    known = json.loads(saved.read_text("utf-8")) if saved.exists() else {"code": {}, "files": {}, "modules": []}
    code = {file: _digest([file]) for file in targets()}
    for file in [file for file in code if known["code"].setdefault(file, code[file]) != code[file]]:
        known["code"][file] = "changed"
    digests = {name: _digest([name, *_golden(name)]) for name in [*test_files(), *targets()]}
    changed = [name for name, digest in digests.items() if known["files"].get(name, {}).get("digest") != digest]
    if changed:
        for file in targets():
            (tree / file).write_text(marked((ROOT / file).read_text("utf-8"), file), "utf-8")
        found = tree.parent / "reach.json"
        ended = forked(lambda: _recorded(tree, changed, found), tree, WORK / "reach.txt", 1800)
        for file in targets():
            shutil.copy2(ROOT / file, tree / file)
        if not found.exists():
            raise SystemExit(f"the tests could not be recorded (exit {ended}): see {WORK / 'reach.txt'}")
        read = json.loads(found.read_text("utf-8"))
        known["modules"] = sorted({*known["modules"], *read["modules"]})
        known["files"] |= {name: {"digest": digests[name], "tests": {}} for name in changed}
        for name, line in read["tests"].items():
            known["files"][name.partition("::")[0]]["tests"][name] = line
        saved.write_text(json.dumps(known), "utf-8")
    tests = {
        name: (seconds, {file: set(lines) for file, lines in by_file.items()})
        for file in digests
        for name, (seconds, by_file) in known["files"][file]["tests"].items()
    }
    return Reach(tests, known["modules"], {file for file in code if known["code"][file] == "changed"})


def marked(source: str, file: str) -> str:
    """The source with a mark before each statement of a function: it adds the statement's line to `EXECUTED[file]`."""
    tree = Marks().visit(ast.parse(source))
    at = next(at for at, node in enumerate(tree.body) if isinstance(node, ast.ImportFrom | ast.Import)) + 1 if tree.body else 0
    tree.body[at:at] = ast.parse(
        f"import sys\n_executed = getattr(sys.modules['__main__'], 'EXECUTED', {{}}).setdefault({file!r}, set())"
    ).body
    return ast.unparse(ast.fix_missing_locations(tree))


class Marks(ast.NodeTransformer):
    """Puts the marks into functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._mark(node, skipped=int(ast.get_docstring(node) is not None))
        return node

    def _mark(self, node: ast.AST, skipped: int = 0) -> None:
        for child in ast.iter_child_nodes(node):
            self._mark(child, int(isinstance(child, ast.FunctionDef) and ast.get_docstring(child) is not None))
        for name in () if isinstance(node, ast.ClassDef) else ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                marks = [(ast.parse(f"_executed.add({one.lineno})").body[0], one) for one in block[skipped:]]
                setattr(node, name, [*block[:skipped], *(part for pair in marks for part in pair)])


EXECUTED: Final[defaultdict[str, set[int]]] = defaultdict(set)


def _recorded(tree: Path, words: list[str], saved: Path) -> int:
    before = set(sys.modules)
    recorder = Recorder()
    code = pytest.main([*PYTEST, "-m", "not slow", "-k", "not killed and not time_is_linear", *words], plugins=[recorder])
    tests = {
        name: (round(seconds, 4), {file: sorted(lines) for file, lines in recorder.lines[name].items()})
        for name, seconds in recorder.seconds.items()
        if name not in recorder.failed
    }
    outside = [
        name for name, module in sys.modules.items()
        if name not in before and not str(getattr(module, "__file__", None) or tree).startswith(str(tree))
    ]  # fmt: skip
    saved.write_text(json.dumps({"tests": tests, "modules": outside}), "utf-8")
    return int(code)


PYTEST: Final = [
    "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis", "--hypothesis-seed=0", "--no-header", "--tb=line",
]  # fmt: skip


class Recorder:
    """A plugin of pytest: the lines of the targets that each test function executes, and its seconds."""

    def __init__(self) -> None:
        self.lines: dict[str, dict[str, set[int]]] = {}
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        for lines in EXECUTED.values():
            lines.clear()
        began = time.process_time()
        try:
            return (yield)
        finally:
            name = item.nodeid.partition("[")[0]
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began
            mine = self.lines.setdefault(name, {})
            for file, lines in EXECUTED.items():
                if lines:
                    mine.setdefault(file, set()).update(lines)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid.partition("[")[0])


def concerned(one: Mutant, reach: Reach) -> list[tuple[list[str], float]]:
    """The tests that execute the lines of a fault, with their seconds together: first those of its own folder, then others."""
    wanted = (
        None if one.fault.lines is None or one.file in reach.changed else set(range(one.fault.lines[0], one.fault.lines[1] + 1))
    )
    folder = f"tests/{one.file.split('/')[1]}/"
    groups: dict[bool, list[tuple[float, str]]] = {True: [], False: []}
    for name, (seconds, by_file) in reach.tests.items():
        lines = by_file.get(one.file, set())
        # What is computed as a module loads may matter to whoever imports it: numerals.py has patterns for verdict.py.
        if lines & wanted if wanted is not None else lines or _uses(one.file, (name.partition("::")[0], *by_file)):
            groups[name.startswith((folder, one.file))].append((seconds, name))
    chosen = []
    for group in groups.values():
        names: list[str] = []
        total = 0.0
        for seconds, name in sorted(group):
            if total + seconds <= MOST_SECONDS or not names:
                names.append(name)
                total += seconds
        if names:
            chosen.append((names, total))
    return chosen


def _uses(file: str, others: tuple[str, ...]) -> bool:
    module = file.removesuffix(".py").replace("/", ".")
    return any(f"from {module} import" in (ROOT / other).read_text("utf-8") for other in others)


def tried(one: Mutant, tree: Path, reach: Reach) -> tuple[str, float, str]:
    """The outcome, the seconds, and the line that names the test that failed."""
    place, output, began = tree / one.file, tree.parent / "output.txt", time.monotonic()
    source = place.read_bytes()
    outcome, shown = "survived", "no test executes it"
    try:
        place.write_bytes(source[: one.fault.start] + one.fault.new + source[one.fault.end :])
        for names, usual in concerned(one, reach):
            code = forked(functools.partial(_tested, one.file, names), tree, output, 10 + 4 * usual)
            lines = output.read_text("utf-8", "replace").splitlines()
            shown = next((line[:200] for line in reversed(lines) if line.startswith(("FAILED", "ERROR"))), "")
            # 2 and 4: a failure while tests are collected, as a module of tests calls the mutated code when it loads.
            outcome = OUTCOMES.get(code) or ("killed" if code in (2, 4) and shown else f"exit {code}")
            if outcome != "survived":
                break
    finally:
        place.write_bytes(source)
    return outcome, time.monotonic() - began, shown


INVALID: Final = 77
OUTCOMES: Final = {0: "survived", 1: "killed", INVALID: "invalid", -signal.SIGKILL: "timeout", -signal.SIGXCPU: "timeout"}
"""What exit codes mean."""


def _tested(file: str, names: list[str]) -> int:
    module = file.removesuffix(".py").replace("/", ".")
    try:
        loaded = importlib.import_module(module)
    except Exception:
        return INVALID
    if not str(loaded.__file__).startswith(str(Path.cwd())):
        raise RuntimeError(f"{module} was loaded from {loaded.__file__}")
    settings.register_profile("mutants", database=None, phases=[Phase.explicit, Phase.generate])  # no shrinking
    settings.load_profile("mutants")
    return int(pytest.main([*PYTEST, "-x", *names]))


def forked(work: Callable[[], int], tree: Path, output: Path, limit: float) -> int:
    """The exit code of `work` in a forked process, in the tree; minus the signal's number where it was killed at the limit, in
    seconds of the processor."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))  # a busy machine is no reason to stop
        os.chdir(tree)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(out, stream)
        sys.path.insert(0, str(tree))
        code = 99
        try:
            code = work()
        finally:
            sys.stdout.flush()
            os._exit(code)
    handle = os.pidfd_open(child)
    ended, _, _ = select.select([handle], [], [], 40 * limit)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(handle)
    return os.waitstatus_to_exitcode(status)


def summary(chosen: list[Mutant], outcomes: dict[str, str]) -> dict[str, Any]:
    """Counts and shares of the sample: in total, by folder and by file; and the survivors with what is known of them."""
    known = json.loads(EQUIVALENT.read_text("utf-8"))
    survivors = [
        {"file": one.file, "line": one.fault.line, "change": one.text, "equivalent": known.get(one.file, {}).get(one.text)}
        for one in sorted(chosen)
        if outcomes[one.id] == "survived"
    ]
    by_file: dict[str, Counter[str]] = {}
    by_folder: dict[str, Counter[str]] = {}
    for one in sorted(chosen):
        for counts, key in ((by_file, one.file), (by_folder, one.file.rpartition("/")[0])):
            counts.setdefault(key, Counter())[outcomes[one.id]] += 1
    total = sum(by_file.values(), Counter[str]())
    return {
        "total": {**counted(total), "equivalent": sum(bool(one["equivalent"]) for one in survivors)},
        "folders": {name: counted(counts) for name, counts in by_folder.items()},
        "files": {name: counted(counts) for name, counts in by_file.items()},
        "survivors": survivors,
    }


def counted(counts: Counter[str]) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT))
    from deepcritic.metrics.bootstrap import wilson  # only here: the forked processes must load the package themselves

    tried = counts["killed"] + counts["survived"] + counts["timeout"]
    share = {"share": round(counts["killed"] / tried, 4)} if tried else {}
    interval = {"interval": [round(bound, 4) for bound in wilson(counts["killed"], tried)]} if tried else {}
    return {name: counts[name] for name in ("killed", "survived", "timeout", "invalid")} | share | interval


if __name__ == "__main__":
    main()

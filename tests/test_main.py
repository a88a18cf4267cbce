"""The command line as a user meets it: listings, misspelt words, being stopped, a full disk."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.cli.config import build, compose, configuration_folder
from deepcritic.errors import UsageError
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import Generation

HEAVY = ("torch", "transformers", "trl", "vllm", "datasets", "accelerate", "ray", "openai")


def _process(*words: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deepcritic", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, **options)


def _loaded(program: str, folder: Path) -> set[str]:
    """The top-level modules that a program loads."""
    ending = "\nimport sys; print('\\n' + ' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    command = [sys.executable, "-c", program + ending]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    return set(result.stdout.splitlines()[-1].split())


def _recording(sample: Path, path: Path) -> Path:
    rows = json.loads(sample.read_text("utf-8"))
    path.write_text(
        "".join(json.dumps({"example_id": row["id"], "sample": 0, "text": "\\boxed{1}"}) + "\n" for row in rows), "utf-8"
    )
    return path


@pytest.fixture
def words(samples_dir: Path, tmp_path: Path) -> list[str]:
    """An evaluation that goes through."""
    sample = samples_dir / "processbench.json"
    recording = _recording(sample, tmp_path / "rows.jsonl")
    named = {"stage": "evaluate", "benchmark": "processbench", "benchmark.path": sample, "stage.generations": recording}
    return [f"{name}={value}" for name, value in named.items()]


# What is loaded


@pytest.mark.parametrize(
    ("program", "light"),
    [
        ("import deepcritic", (*HEAVY, "hydra", "omegaconf", "numpy", "yaml", "msgspec")),
        ("from deepcritic.__main__ import main; main(['--help'])", (*HEAVY, "hydra", "omegaconf", "numpy")),
        (
            "import deepcritic.stages.evaluate, deepcritic.samplers.transformers, deepcritic.text.chat_template",
            HEAVY,
        ),
        ("import deepcritic.datasets.processbench, deepcritic.tasks.first_error, deepcritic.runs.folder", (*HEAVY, "hydra")),
    ],
)
def test_what_stays_unloaded(program: str, light: tuple[str, ...], tmp_path: Path) -> None:
    assert not _loaded(program, tmp_path) & set(light)


def test_scoring_a_recording_loads_no_model_library(words: list[str], tmp_path: Path) -> None:
    assert not _loaded(f"from deepcritic.__main__ import main; assert main({words!r}) == 0", tmp_path) & set(HEAVY)


# Listings


@pytest.mark.parametrize("given", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_stages_experiments_and_examples(command: Callable[..., Any], given: list[str]) -> None:
    outcome = command(*given)
    assert outcome.code == 0
    assert outcome.err == ""
    for group in ("stage", "experiment"):
        for file in (configuration_folder() / group).glob("*.yaml"):
            assert f"\n  {file.stem} " in outcome.out
    for heading in ("usage:", "stages", "experiments", "examples"):
        assert heading in outcome.out


def test_every_example_of_the_help_can_be_composed(command: Callable[..., Any]) -> None:
    lines = command("--help").out.splitlines()
    shown = [shlex.split(line)[3:] for line in lines if line.startswith("  python -m deepcritic ")]
    assert len(shown) >= 3
    for given in shown:
        names = [word.partition("=")[2] for word in given if word.startswith("experiment=")]
        if all((configuration_folder() / "experiment" / f"{name}.yaml").is_file() for name in names):
            compose(given)


def test_help_and_an_error_in_processes_of_their_own(tmp_path: Path) -> None:
    helped = _process("--help", folder=tmp_path)
    assert helped.returncode == 0
    assert "usage: python -m deepcritic" in helped.stdout
    wrong = _process("stage=evalute", folder=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: unknown stage=evalute; did you mean evaluate?\n"
    assert list(tmp_path.iterdir()) == []


def test_show_config_shows_and_does_nothing(command: Callable[..., Any], words: list[str]) -> None:
    outcome = command(*words, "show_config=true")
    assert outcome.code == 0
    assert "deepcritic.stages.evaluate.run" in outcome.out
    assert not Path("runs").exists()


# Wrong words: exit code 2, one line, the nearest right one


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["stage=evalute"], "unknown stage=evalute; did you mean evaluate?"),
        (["stage="], "unknown stage=; expected "),
        (["stage=evaluate", "benchmark=procesbench"], "unknown benchmark=procesbench; did you mean processbench?"),
        (["stage=evaluate", "task=frist_error"], "unknown task=frist_error; did you mean first_error?"),
        (["stage=evaluate", "sampler=transformer"], "did you mean transformers?"),
        (["experiment=dmo"], "unknown experiment=dmo"),
        (["stage=evaluate", "stage.generatins=x"], "unknown option stage.generatins; did you mean stage.generations?"),
        (["stage=evaluate", "stage.allow_mising=true"], "did you mean stage.allow_missing?"),
        (["stage=evaluate", "+stage.sampels=3"], "unknown option stage.sampels; did you mean samples?"),
        (["stage=evaluate", "sede=1"], "unknown option sede; did you mean seed?"),
        (["stage=evaluate", "benchmrak=processbench"], "unknown option benchmrak; did you mean benchmark?"),
        (["stage=evaluate", "benchmark=processbench", "benchmark.pth=x"], "did you mean benchmark.path?"),
        (["evaluate"], "found 'evaluate'; expected option=value (see python -m deepcritic --help)"),
        (["--stage=evaluate"], "options have no dashes; expected stage=evaluate"),
        (["run=mine"], "no stage is given; set stage=STAGE or experiment=EXPERIMENT"),
        (["stage=evaluate"], "no benchmark is given; expected benchmark=NAME benchmark.path=FILE"),
        (["stage=evaluate", "benchmark=examples"], "missing option: benchmark.path=..."),
        (["stage=evaluate", "benchmark=mr_ben"], "missing option: benchmark.path=FILE (of mr_ben)"),
        (["stage=evaluate", "model=a=b,c"], "'model=a=b,c' cannot be parsed; quote the value"),
        (["stage=evaluate", "model=${nothing}"], "nothing"),
        (["stage=evaluate", "overwrite=no"], "overwrite: not a boolean; found 'no'; expected true or false"),
        (["stage=evaluate", "seed=many"], "seed: wrong type; found 'many'; expected a whole number"),
    ],
)
def test_wrong_words(command: Callable[..., Any], given: list[str], said: str) -> None:
    outcome = command(*given)
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert said in outcome.err
    assert not list(Path("runs").rglob("*.jsonl"))


def test_the_quotes_that_are_proposed_work(command: Callable[..., Any], words: list[str], tmp_path: Path) -> None:
    path = (tmp_path / "rows.jsonl").rename(tmp_path / "a=b, {c} (d).jsonl")
    given = [word for word in words if not word.startswith("stage.generations")]
    outcome = command(*given, f"stage.generations={path}")
    assert outcome.code == 2
    proposed = shlex.split(outcome.err.partition("quote the value: ")[2])[0]
    assert command(*given, proposed).code == 0


def test_a_number_is_a_fine_name(command: Callable[..., Any], words: list[str]) -> None:
    assert command(*words, "run=2026", "name=7").code == 0
    assert Path("runs/2026/evaluate.7/metrics.json").is_file()


@pytest.mark.parametrize(
    ("word", "said"), [("run=../up", "run: not a valid folder name"), ("name=a/b", "name: not a valid folder name")]
)
def test_names_that_lead_elsewhere(command: Callable[..., Any], words: list[str], word: str, said: str) -> None:
    outcome = command(*words, word)
    assert outcome.code == 1
    assert said in outcome.err


def test_arguments_are_checked_against_the_function() -> None:
    task = {"_target_": "deepcritic.tasks.first_error.FirstError", "template": None}
    assert build(task).name == "first_error"
    with pytest.raises(UsageError, match=r"unknown option task\.templte; did you mean template"):
        build({"_target_": task["_target_"], "templte": None}, place="task")
    with pytest.raises(UsageError, match=r"task\.template: wrong type; found 3"):
        build({**task, "template": 3}, place="task")


# Trouble on the way: what was done is kept


def test_tracebacks_only_on_request(words: list[str], tmp_path: Path) -> None:
    given = [word for word in words if not word.startswith("stage.generations")]
    plain = _process(*given, "stage.generations=none.jsonl", folder=tmp_path)
    assert plain.returncode == 1
    assert len(plain.stderr.splitlines()) == 1
    shown = _process(*given, "stage.generations=none.jsonl", "debug=true", folder=tmp_path)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert "InputError" in shown.stderr


def test_control_characters_of_a_file_do_not_reach_the_terminal(command: Callable[..., Any], words: list[str]) -> None:
    Path("rows.jsonl").write_text(json.dumps({"example_id": "\x1b[31m\u2028\n", "sample": 0, "text": ""}) + "\n", "utf-8")
    outcome = command(*words)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "\x1b" not in outcome.err


def test_a_run_folder_in_use(command: Callable[..., Any], words: list[str]) -> None:
    with RunFolder(Path("runs/mine/evaluate"), stage="evaluate", config={}):
        outcome = command(*words, "run=mine")
    assert outcome.code == 1
    assert outcome.err == "error: runs/mine/evaluate is in use by another process; wait for it, or set name=\n"
    assert command(*words, "run=mine").code == 0


def test_a_place_that_cannot_be_written(command: Callable[..., Any], words: list[str]) -> None:
    Path("file").write_text("mine", "utf-8")
    outcome = command(*words, "runs=file")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "file/default: Not a directory" in outcome.err
    assert Path("file").read_text("utf-8") == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_keeps_the_rows_before_and_the_run_goes_on(words: list[str], tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    lines = [json.loads(line) for line in rows.read_text("utf-8").splitlines()]
    rows.write_text("".join(json.dumps({**line, "text": "x" * 900 + line["text"]}) + "\n" for line in lines), "utf-8")

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    full = _process(*words, "run=mine", folder=tmp_path, preexec_fn=little_room)
    folder = tmp_path / "runs/mine/evaluate"
    assert full.returncode == 1
    assert len(full.stderr.splitlines()) == 1
    assert "generations.jsonl: File too large; completed work is kept; free space and rerun the same command" in full.stderr
    kept = list(read_rows(folder / "generations.jsonl", Generation))
    assert 1 <= len(kept) < len(lines)
    assert not (folder / "manifest.json").exists()
    again = _process(*words, "run=mine", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"resuming after {len(kept)} rows" in again.stdout
    assert len(list(read_rows(folder / "generations.jsonl", Generation))) == len(lines)


SLOW = """
import sys, time
from deepcritic.samplers import recorded
quick = recorded.RecordedSampler.stream
def slow(self, requests):
    for outcome in quick(self, requests):
        yield outcome
        print("one", flush=True)
        time.sleep(30)
recorded.RecordedSampler.stream = slow
from deepcritic.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes with SIGPIPE")
@pytest.mark.parametrize("lines", [0, 1])
def test_output_that_nobody_reads_ends_without_a_word(words: list[str], tmp_path: Path, lines: int) -> None:
    """As `python -m deepcritic ... | head -1` does."""
    program = SLOW.replace("30", "0.2")
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words, "run=mine"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(lines):
        assert process.stdout.readline() == "one\n"
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize(("sent", "code", "by"), [(signal.SIGINT, 130, ""), (signal.SIGTERM, 143, " by SIGTERM")])
def test_a_signal_says_how_to_go_on(words: list[str], tmp_path: Path, sent: signal.Signals, code: int, by: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words, "run=mine"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "one\n"
    time.sleep(0.2)
    os.kill(process.pid, sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.strip() == f"stopped{by}; completed work is kept; rerun the same command to resume"
    again = _process(*words, "run=mine", folder=tmp_path)
    assert again.returncode == 0
    assert "resuming after 1 rows" in again.stdout


def test_the_demo_cut_down_runs_to_its_report(tmp_path: Path) -> None:
    done = _process("experiment=demo", "debug=smoke", "seed=3", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs/smoke/summary.json").read_text("utf-8"))
    stages = {path.parent.name for path in (tmp_path / "runs/smoke").glob("*/manifest.json")}
    assert stages == set(summary["seconds"]) - {"total"}
    assert {"base", "sft", "rl", "labels", "teacher", "refine"} <= set(summary)
    assert (tmp_path / "runs/smoke/report/index.html").stat().st_size > 0


NO_TARGETS = [
    "os.system", "shutil.rmtree", "deepcritic", "deepcritic.stages.evaluate", "deepcritic..run", "null", "7", "[]", "'a b.c'",
    "deepcritic.nowhere.run", "deepcritic.stages.evaluate.nothing", "deepcritic.stages.evaluate.Path", "deepcritic.schema.SCHEMA",
    "deepcritic.runs.folder.shutil.rmtree", "deepcritic.stages.evaluate._evaluator",
]  # fmt: skip


@pytest.mark.parametrize("group", ["stage", "task", "sampler"])
@pytest.mark.parametrize("name", NO_TARGETS)
def test_a_configuration_calls_what_the_package_defines(command: Callable[..., Any], group: str, name: str) -> None:
    outcome = command("stage=evaluate", "benchmark=processbench", f"{group}._target_={name}")
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    assert "_target_: not from this package; found" in outcome.err

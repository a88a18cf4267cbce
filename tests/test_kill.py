"""Every stage that writes rows or models, killed with SIGKILL at random moments and before each file operation, ends with the
files of an undisturbed run.

A process that has loaded the heavy libraries, and computed nothing, forks a child for each start of a stage. The child
is killed after a time drawn over the measured life of the stage, or right before an operation on the run's files
(seen through Python's audit hook). What then comes of a new start is compared file by file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replaced

import deepcritic
from deepcritic.__main__ import main
from deepcritic.microworld.lessons import deep_critique
from deepcritic.microworld.world import apply, draw_problem, judge, write_solution
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import ALL_CORRECT, Dialogue, Example, Generation, Gold, Item, Key, Message
from deepcritic.shipped_models import shipped_path
from deepcritic.tasks.first_error import FirstError

pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

KILLS = 20
CHECKPOINTS = {"sft": 4, "rl": 3, "meta_rm": 4}
"""How many checkpoints a stage that trains completes."""
SHARP = re.compile(r"rename|/complete|rmtree|rmdir|trainer_state")
SHIPPED = "deepcritic://microworld/models"
TEMPLATE = "task.template=deepcritic://microworld/templates/critique.txt"
SAMPLES = Path(__file__).resolve().parent.parent / "data" / "samples"
TIMES = {
    "seconds",
    "requests",
    "retries",
    "duplicates",
    "step_time",
    "eval_runtime",
    "eval_samples_per_second",
    "eval_steps_per_second",
}

# One command for each stage, small enough to live for a second; {data} is the folder of its inputs.
UNSEEDED = {"label"}
"""Stages that do not read `seed`."""
STAGES = {
    "prepare": "experiment=microworld/problems source.count=1500",
    "seed": "experiment=microworld/seed stage.examples={data}/few.jsonl stage.in_depth_samples=3 stage.wave_size=1 "
    "sampler.batch_size=4",
    "sft": "experiment=microworld/sft stage.dialogues={data}/dialogues.jsonl stage.batch_size=4 stage.device_batch_size=2 "
    "stage.max_steps=7 stage.save_steps=2 stage.logging_steps=1 stage.validation_split=0.25 "
    "stage.validation_examples={data}/few.jsonl stage.validation_max_tokens=4",
    "solve": "experiment=microworld/solve stage.problems={data}/few.jsonl stage.samples=4 sampler.batch_size=8",
    "rollout": "experiment=microworld/rollout stage.solutions={data}/few.jsonl stage.samples=2 sampler.batch_size=8",
    "rollout.adaptive": "experiment=microworld/rollout stage.solutions={data}/few.jsonl stage.samples=3 stage.rule=deepcritic "
    "name=adaptive sampler.batch_size=8",
    "label": "stage=label stage.solutions={data}/rated.jsonl stage.rollouts={data}/rollouts.jsonl stage.samples=4",
    "rl": f"experiment=microworld/rl stage.examples={{data}}/rated.jsonl model={SHIPPED}/base stage.prompts_per_step=2 "
    "stage.num_generations=2 stage.device_batch_size=2 stage.steps=5 stage.save_steps=2 stage.logging_steps=1 "
    "stage.max_tokens=48 "
    "stage.beta=0.01 stage.prefilter_samples=3 stage.temperature=1.5 sampler.batch_size=24 stage.all_correct_share=null",
    # Groups replaced, classes in every batch, validation, and the groups that are kept.
    "rl.dynamic": f"experiment=microworld/rl stage.examples={{data}}/rated.jsonl model={SHIPPED}/base stage.prompts_per_step=2 "
    "stage.num_generations=3 stage.device_batch_size=6 stage.steps=5 stage.save_steps=2 stage.logging_steps=1 "
    "stage.max_tokens=48 "
    "stage.prefilter_samples=0 stage.temperature=1.5 stage.balanced_batches=true stage.dynamic_sampling=2 stage.log_groups=1 "
    "stage.validation_examples={data}/few.jsonl stage.validation_limit=4 stage.eval_steps=2 name=dynamic",
    "evaluate": f"experiment=microworld/evaluate benchmark.path={{data}}/rated.jsonl model={SHIPPED}/base stage.samples=2 "
    "stage.max_tokens=16 sampler.batch_size=8",
    # Several benchmarks in one queue, and a scalar critic whose threshold comes from other rows.
    "suite": f"experiment=eval_suite suite.processbench.path={SAMPLES}/processbench.json suite.mr_ben.path={SAMPLES}/mr_ben.json "
    f"suite.mr_gsm8k.path={SAMPLES}/mr_gsm8k.json model={SHIPPED}/base stage.samples=2 stage.max_tokens=8 "
    "stage.limit=3 sampler.batch_size=8",
    "prm": "stage=evaluate benchmark=examples benchmark.path={data}/rated.jsonl scorer=prm model={data}/prm "
    "stage.threshold_on={data}/tuning.jsonl scorer.batch_size=1",
    "refine": f"experiment=microworld/refine stage.solutions={{data}}/few.jsonl model={SHIPPED}/base sampler.batch_size=4",
    "reject": f"stage=reject {TEMPLATE} stage.examples={{data}}/rated.jsonl model={SHIPPED}/base stage.samples=3 "
    "stage.max_tokens=48 stage.temperature=1.5 sampler.batch_size=8",
    "meta_rm": f"stage=meta_rm {TEMPLATE} stage.examples={{data}}/rated.jsonl stage.generations=[{{data}}/replies.jsonl] "
    f"model={SHIPPED}/base stage.batch_size=8 stage.device_batch_size=4 stage.max_steps=7 stage.save_steps=2 "
    "stage.logging_steps=1 stage.max_length=512",
    "vote": f"experiment=microworld/vote stage.problems={{data}}/few.jsonl stage.solutions={{data}}/solved.jsonl "
    f"model={SHIPPED}/base stage.samples=2 stage.criticised=3 stage.max_tokens=16 sampler.batch_size=4",
    "filter": f"stage=filter {TEMPLATE} stage.examples={{data}}/rated.jsonl model={SHIPPED}/base stage.samples=3 "
    "stage.max_tokens=48 stage.temperature=1.5 stage.accept=0.4 sampler.batch_size=8",
    "estimate": "stage=estimate stage.verdicts={data}/verdicts.jsonl stage.labels={data}/labels.jsonl "
    "stage.examples={data}/rated.jsonl stage.next=4",
    "report": "stage=report",
}  # fmt: skip

SERVER = r"""
import json, os, re, select, signal, sys, time
import torch
torch.set_num_threads(1)
import scipy.stats, matplotlib.figure, jinja2, hydra, datasets, rich.console
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM, Qwen2ForTokenClassification, Qwen2Tokenizer
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer
import importlib
for stage in "prepare seed sft solve rollout label rl evaluate refine reject meta_rm vote filter estimate report".split():
    importlib.import_module("deepcritic.stages." + stage)
import deepcritic.samplers.transformers, deepcritic.scorers.prm, deepcritic.microworld.source, deepcritic.training.meta_rm
from deepcritic.__main__ import main

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree", "tempfile.mkstemp"}


def watch(trap, log):
    def hook(event, given):
        if event not in EVENTS or (event == "open" and not isinstance(given[0], (str, bytes, os.PathLike))):
            return
        if event == "open" and given[2] is not None and not given[2] & (os.O_WRONLY | os.O_RDWR):
            return
        for place in given[1::-1] if event == "os.rename" else given[:1]:
            name = os.fsdecode(place) if isinstance(place, (str, bytes, os.PathLike)) else ""
            if "runs/mine/" in name and not name.endswith(".lock"):
                name = re.sub(r"\.\w{8}(\.part)?$", " (temporary)", name.partition("runs/mine/")[2])
                label = event + " " + name
                if log:
                    os.write(log, (label + "\n").encode())
                if trap == label:
                    os.kill(os.getpid(), signal.SIGKILL)
                return

    sys.addaudithook(hook)


print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.chdir(order["folder"])
        out = os.open("out.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(out, stream)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if order["log"] else 0
        if log or order["trap"]:
            watch(order["trap"], log)
        code = 99
        try:
            code = main(order["words"])
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(code)
    handle = os.pidfd_open(child)
    if not select.select([handle], [], [], order["kill_after"])[0]:
        os.kill(child, signal.SIGKILL)  # it cannot have been reaped: that is done below
    _, status = os.waitpid(child, 0)
    os.close(handle)
    print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - began]), flush=True)
"""


class Server:
    """Starts a stage in a folder, and perhaps kills it."""

    def __init__(self, data: Path) -> None:
        package = Path(deepcritic.__file__).resolve().parent
        path = os.pathsep.join(filter(None, [str(Path(deepcritic.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
        quiet = {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        self.data, self.package = data, package
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path, **quiet, **one},
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def start(
        self, stage: str, folder: Path, *, kill_after: float | None = None, trap: str | None = None, log: Path | None = None
    ) -> tuple[int, float]:
        """`(exit code, seconds)`; the code is minus the signal's number."""
        folder.mkdir(parents=True, exist_ok=True)
        words = [*STAGES[stage].format(data=self.data).split(), "run=mine", *([] if stage in UNSEEDED else ["seed=7"])]
        order = {"words": words, "folder": str(folder), "kill_after": kill_after, "trap": trap, "log": str(log) if log else None}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code, seconds = json.loads(self._process.stdout.readline())
        return code, seconds

    def finish(self, stage: str, folder: Path, **options: Any) -> float:
        code, seconds = self.start(stage, folder, **options)
        assert code == 0, (folder / "out.txt").read_text("utf-8")[-3000:]
        return seconds

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("data")
    make_data(data)
    opened = Server(data)
    yield opened
    opened.close()


def make_data(folder: Path) -> None:
    """Rated solutions with answers, dialogues and replies about them, rollouts, and solutions of their problems."""
    task, rng = FirstError("deepcritic://microworld/templates/critique.txt"), random.Random(0)
    rated, dialogues, rollouts, replies, solved = [], [], [], [], []
    for index in range(16):
        problem = draw_problem(rng, "train", (3,))
        while True:
            steps = write_solution(problem, rng, {"slip": 0.2})
            truth = judge(problem, steps)
            assert truth is not None
            if (truth.first_error == ALL_CORRECT) == (index % 2 == 0):
                break
        item, name = Item(problem=problem.text, steps=tuple(steps)), f"p{index}"
        gold = Gold(first_error=truth.first_error, reference_answer=str(problem.answer), answer_right=truth.answer_right)
        rated.append(Example(id=name, item=item, gold=gold, source="made"))
        messages = (*task.ask(item).messages, Message(role="assistant", content=deep_critique(problem, steps)))
        dialogues.append(Dialogue(id=name, task=task.name, messages=messages, verdict=truth.first_error))
        for given in range(1, len(steps)):
            for sample in range(4):
                key = Key(example_id=name, request="rollout", step=given, sample=sample)
                text = f"\\boxed{{{apply(problem.answer, '+', rng.randrange(2))}}}"
                rollouts.append(generation(key, text))
        for sample, verdict in enumerate((truth.first_error, ALL_CORRECT, 2)):
            replies.append(generation(Key(example_id=name, request="critique", sample=sample), task.format(verdict)))
            text = "".join(f"Step {number}: {step}\n" for number, step in enumerate(steps, start=1))
            solved.append(generation(Key(example_id=name, request="solve", sample=sample), text))
    write_rows(folder / "rated.jsonl", rated)
    said = [{"id": row.id, "verdicts": [row.gold.first_error, -1, None]} for row in rated]
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in said), "utf-8")
    known = [{"id": row.id, "first_error": row.gold.first_error} for row in rated[:11]]
    (folder / "labels.jsonl").write_text("".join(json.dumps(one) + "\n" for one in known), "utf-8")
    write_rows(folder / "few.jsonl", rated[:5])
    write_rows(folder / "tuning.jsonl", (replaced(row, id=f"t-{row.id}", item=replaced(row.item, problem="?")) for row in rated))
    make_prm(folder / "prm")
    write_rows(folder / "dialogues.jsonl", dialogues)
    write_rows(folder / "rollouts.jsonl", rollouts)
    write_rows(folder / "replies.jsonl", replies)
    write_rows(folder / "solved.jsonl", solved)


def generation(key: Key, text: str) -> Generation:
    return Generation(key=key, text=text, finish_reason="stop", model="m", fingerprint="f", seed=0)


def make_prm(folder: Path) -> None:
    """A process reward model with random weights."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForTokenClassification

    tokenizer = AutoTokenizer.from_pretrained(shipped_path(f"{SHIPPED}/base"))
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, num_labels=2, initializer_range=0.5,
    )  # fmt: skip
    Qwen2ForTokenClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def prepared(stage: str, server: Server, folder: Path) -> Path:
    """A folder in which the stage can be started: a report needs a run to report on."""
    if stage == "report":
        evaluated = server.data / "runs"
        if not evaluated.exists():
            for name, verdict in (("base", -1), ("sft", 1)):
                recording = server.data / f"{name}.jsonl"
                replies = [{"example_id": f"p{index}", "sample": 0, "text": f"\\boxed{{{verdict}}}"} for index in range(16)]
                recording.write_text("".join(json.dumps(reply) + "\n" for reply in replies), "utf-8")
                words = ["stage=evaluate", "benchmark=examples", f"benchmark.path={server.data}/rated.jsonl", "run=mine"]
                assert main([*words, f"runs={evaluated}", f"name={name}", f"stage.generations={recording}"]) == 0
        shutil.copytree(evaluated, folder / "runs")
    return folder


def left_behind(folder: Path) -> dict[str, Any]:
    """What a run says, by file: rows as they stand, JSON without its timings, models by their bytes."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir() or file.name == "starts.jsonl" or any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        if file.name == "training.jsonl":
            found[name] = [timeless(json.loads(line)) for line in file.read_text("utf-8").splitlines()]
        elif file.suffix == ".json":
            found[name] = timeless(json.loads(file.read_text("utf-8")))
        elif file.suffix == ".jsonl":
            found[name] = file.read_bytes().split(b"\n")
        elif file.suffix != ".md":  # the trainer's own card
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def timeless(value: Any) -> Any:
    """JSON without timings, and without the hash of the one file that holds some."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in {*TIMES, "training.jsonl"}}
    return value


@functools.cache
def _undisturbed(stage: str, server: Server, folder: Path) -> tuple[dict[str, Any], float, list[str]]:
    """What the stage leaves behind, how long it lives, and its operations on the run's files."""
    log = folder.parent / f"{folder.name}.log"
    seconds = server.finish(stage, prepared(stage, server, folder), log=log)
    return left_behind(folder / "runs"), seconds, log.read_text("utf-8").splitlines()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_moments(stage: str, server: Server, runs: Path) -> None:
    expected, life, _ = _undisturbed(stage, server, runs / stage)
    rng, kills, place, fresh = random.Random(stage), 0, 0, True
    folder = prepared(stage, server, runs / f"{stage}-{place}")
    while kills < KILLS:
        code, seconds = server.start(stage, folder, kill_after=rng.uniform(0, life))
        if code == -signal.SIGKILL:
            kills, fresh = kills + 1, False
            continue
        assert code == 0, (folder / "out.txt").read_text("utf-8")[-3000:]
        _same(left_behind(folder / "runs"), expected, folder)
        life = seconds if fresh else life  # the machine is less busy than when this was measured
        place, fresh = place + 1, True
        folder = prepared(stage, server, runs / f"{stage}-{place}")
    server.finish(stage, folder)
    _same(left_behind(folder / "runs"), expected, folder)


@pytest.mark.parametrize("stage", STAGES)
def test_killed_before_each_operation_on_its_files(stage: str, server: Server, runs: Path) -> None:
    """A row file or the manifest before it takes its place, a checkpoint before its mark, a model before its rename."""
    expected, _, operations = _undisturbed(stage, server, runs / stage)
    labels = list(dict.fromkeys(operations))
    kind = stage.partition(".")[0]
    if kind in CHECKPOINTS:
        labels = [label for label in labels if SHARP.search(label)]
        assert sum(label.endswith("/complete") for label in labels) == CHECKPOINTS[kind], labels
        assert f"os.rename {stage}/model" in labels
    assert any(label.startswith("os.rename") and ("/manifest.json" in label or "summary.json" in label) for label in labels)
    place = 0
    while labels:
        # One folder is killed again and again, in the order of the run. What a new start does not come by any more is
        # met in another folder.
        folder, reached = prepared(stage, server, runs / f"{stage}-at-{place}"), 0
        for label in labels:
            code, _ = server.start(stage, folder, trap=label)
            if code != -signal.SIGKILL:
                assert code == 0, (label, (folder / "out.txt").read_text("utf-8")[-3000:])
                break
            reached += 1
        else:
            server.finish(stage, folder)
        assert reached, f"{labels[0]} is not met in a fresh folder"
        _same(left_behind(folder / "runs"), expected, folder)
        labels, place = labels[reached:], place + 1


def _same(found: dict[str, Any], expected: dict[str, Any], folder: Path) -> None:
    shown = (folder / "out.txt").read_text("utf-8")[-2000:]
    assert found.keys() == expected.keys(), shown
    for name, content in expected.items():
        assert found[name] == content, f"{folder}: {name}\n{shown}"

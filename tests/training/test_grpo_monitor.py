"""What is watched while RL runs, with the real trainer: the figures, the groups that are kept, and the faults that stop it."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import ALL_CORRECT, Example

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")

from deepcritic.hub.models import load_model  # noqa: E402
from deepcritic.samplers.base import Sampling  # noqa: E402
from deepcritic.samplers.transformers import draw_replies  # noqa: E402
from deepcritic.training import grpo  # noqa: E402
from deepcritic.training.grpo_rollouts import RolloutFunction  # noqa: E402

pytestmark = pytest.mark.slow
BASE = "deepcritic://microworld/models/base"
Command = Callable[..., Any]
SMALL = (
    "experiment=microworld/rl", f"model={BASE}", "stage.examples=labelled.jsonl", "stage.steps=3", "stage.prompts_per_step=4",
    "stage.num_generations=4", "stage.device_batch_size=16", "stage.max_tokens=64", "stage.logging_steps=1",
    "stage.prefilter_samples=0",
    "stage.temperature=1.3", "run=mine",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def one_line(said: str) -> bool:
    """Whether an error is all that was said, beside the bars that transformers draws while weights load."""
    lines = [line for line in said.splitlines() if line and not line.startswith("Loading weights:")]
    return len(lines) == 1 and lines[0].startswith("error: ")


@pytest.fixture
def labelled(make_solutions: Any, tmp_path: Path) -> list[Example]:
    rows: list[Example] = make_solutions(24)
    write_rows(tmp_path / "labelled.jsonl", rows)
    return rows


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[RolloutFunction]:
    """A copy of what each step drew."""
    seen: list[Any] = []

    class Watched(RolloutFunction):
        def __call__(self, names: list[str], trainer: Any) -> dict[str, Any]:
            drawn = super().__call__(names, trainer)
            seen.append((names[:: trainer.num_generations], list(self.batch), list(self.used)))
            return drawn

    monkeypatch.setattr(grpo, "RolloutFunction", Watched)
    return seen


def _lines(name: str = "training.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"runs/mine/rl/{name}").read_text("utf-8").splitlines()]


# Figures


def test_the_figures_are_those_of_the_groups(command: Command, labelled: list[Example], batches: list[Any]) -> None:
    outcome = command(*SMALL, "stage.dynamic_sampling=2", "stage.balanced_batches=true", "stage.log_groups=2")
    assert outcome.code == 0, outcome.err
    classes = {row.id: row.gold.first_error == ALL_CORRECT for row in labelled}
    lines = _lines()
    assert len(batches) == len(lines) == 3
    replaced = 0
    for line, (asked, groups, used) in zip(lines, batches, strict=True):
        assert Counter(classes[name] for name in asked) == {True: 2, False: 2}, "half of every batch"
        for name, group in zip(asked, groups, strict=True):
            assert classes[name] == classes[group.prompt.id], "the other is of the same class"
            replaced += name != group.prompt.id
        samples = [(classes[group.prompt.id], sample) for group in groups for sample in group.samples]
        for name, of in (("reward_all_correct", True), ("reward_with_error", False)):
            assert line[name] == pytest.approx(
                statistics.mean(sample.reward for right, sample in samples if right == of), abs=1e-6
            )
        assert line["unparsed"] == pytest.approx(statistics.mean(sample.verdict is None for _, sample in samples), abs=1e-6)
        assert line["truncated"] == pytest.approx(statistics.mean(not sample.ended for _, sample in samples), abs=1e-6)
        assert line["truncated"] == pytest.approx(line["completions/clipped_ratio"], abs=1e-6)
        most = Counter(sample.verdict for _, sample in samples).most_common(1)[0][1]
        assert line["top_verdict"] == pytest.approx(most / len(samples), abs=1e-6)
        assert line["frac_reward_zero_std"] == pytest.approx(statistics.mean(not group.varies for group in groups), abs=1e-6)
        assert line["groups_drawn"] == pytest.approx(len(used) / len(groups), abs=1e-6)
        assert line["entropy"] > 0
    assert replaced, "some group had no variance and gave way"
    assert any(line["groups_drawn"] > 1 for line in lines)


def test_groups_are_kept_with_the_advantages_that_they_were_learnt_with(
    command: Command, labelled: list[Example], batches: list[Any]
) -> None:
    assert command(*SMALL, "stage.log_groups=2").code == 0
    gold = {row.id: row.gold.first_error for row in labelled}
    kept = _lines("groups.jsonl")
    assert [line["step"] for line in kept] == [1, 1, 2, 2, 3, 3]
    for line, group in zip(kept, (group for _, groups, _ in batches for group in groups[:2]), strict=True):
        assert (line["example_id"], line["gold"]) == (group.prompt.id, gold[group.prompt.id])
        assert [one["text"] for one in line["samples"]] == [sample.text for sample in group.samples]
        assert {one["finish_reason"] for one in line["samples"]} <= {"stop", "length"}
        rewards = [one["reward"] for one in line["samples"]]
        assert rewards == [float(one["verdict"] == line["gold"]) for one in line["samples"]]
        deviation = statistics.stdev(rewards) + 1e-4
        for one in line["samples"]:
            assert one["advantage"] == pytest.approx((one["reward"] - statistics.mean(rewards)) / deviation, abs=1e-3)


def test_two_processes_learn_from_one_batch(make_solutions: Any, tmp_path: Path) -> None:
    """Each draws its half; one of them filters and writes, and what is logged is of both."""
    write_rows(tmp_path / "labelled.jsonl", make_solutions(48, 3))
    words = [*SMALL, "stage.steps=2", "stage.device_batch_size=4", "stage.num_generations=2", "stage.prefilter_samples=3",
             "stage.all_correct_share=null", "stage.dynamic_sampling=2"]  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "deepcritic"]
    done = subprocess.run([*launch, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "mine" / "rl"
    lines = [json.loads(line) for line in (folder / "training.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert line["truncated"] == pytest.approx(line["completions/clipped_ratio"], abs=1e-6), "TRL counts over both"
        assert 0 <= line["top_verdict"] <= 1 <= line["groups_drawn"]
    counts = json.loads((folder / "manifest.json").read_text("utf-8"))["counts"]["prompts"]
    assert len(json.loads((folder / "kept.json").read_text("utf-8"))) == counts["out"]


# Faults


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stage.temperature=0.05", "stage.all_correct_share=1.0"), "the verdict -1 has"),
        (("stage.max_tokens=2",), "unparsed replies are 100% of the replies"),
    ],
)
def test_a_critic_that_says_one_thing_only_is_stopped(
    command: Command, labelled: list[Example], words: tuple[str, ...], said: str
) -> None:
    outcome = command(*SMALL, *words, "stage.patience=2")
    assert outcome.code == 1
    assert "the critic has collapsed: at step 2" in outcome.err
    assert said in outcome.err
    assert "balance the classes" in outcome.err
    assert one_line(outcome.err)
    assert not Path("runs/mine/rl/manifest.json").exists()
    assert command(*SMALL, *words, "stage.patience=4", "run=longer").code == 0, "it has to last"


def test_the_patience_counts_on_after_a_restart(command: Command, labelled: list[Example]) -> None:
    """Whether the run was killed in between must not matter: the checkpoint knows how long the fault has lasted."""
    words = [*SMALL, "stage.max_tokens=2", "stage.patience=3", "stage.save_steps=2", "stage.steps=5"]
    first = command(*words)
    assert (first.code, "at step 3" in first.err) == (1, True), first.err
    assert json.loads(Path("runs/mine/rl/checkpoint-2/watch.json").read_text("utf-8"))["collapse"] == 2
    again = command(*words)
    assert (again.code, "at step 3" in again.err) == (1, True), again.err


class LentEngine:
    """In vLLM's place: transformers with a copy of the weights, which follow the trainer's or do not."""

    follows = True

    def __init__(self, *, model: Any, processing_class: Any, temperature: float, max_completion_length: int, **_: Any) -> None:
        self.trained, self.tokenizer, self.drawn = model, processing_class, 0
        self.own = load_model(BASE, device="cpu").eval()
        self.sampling = Sampling(temperature=temperature, max_tokens=max_completion_length)

    def sync_weights(self) -> None:
        if self.follows:
            self.own.load_state_dict(self.trained.state_dict())

    def generate(self, prompts: list[list[int]], images: None, num_generations: int, profiler: Any = None) -> Any:
        seeds = range(self.drawn, self.drawn + len(prompts))
        self.drawn += len(prompts)
        replies = [reply.ids for reply in draw_replies(self.own, self.tokenizer, prompts, list(seeds), self.sampling)]
        return None, replies, [self._logprobs(*pair) for pair in zip(prompts, replies, strict=True)], None

    def _logprobs(self, prompt: list[int], reply: list[int]) -> list[list[float]]:
        with torch.no_grad():
            logits = self.own(input_ids=torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
        chances = torch.log_softmax(logits.float() / self.sampling.temperature, -1)
        return [[chance] for chance in chances.gather(-1, torch.tensor(reply).unsqueeze(-1)).squeeze(-1).tolist()]


@pytest.mark.parametrize("follows", [True, False])
def test_an_engine_with_stale_weights_is_noticed(
    command: Command, labelled: list[Example], monkeypatch: pytest.MonkeyPatch, follows: bool
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name if name == "vllm" else found(name, *more))
    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", type("Lent", (LentEngine,), {"follows": follows}))
    words = [
        "stage.vllm_mode=colocate",
        "stage.learning_rate=0.002",
        "stage.steps=8",
        "stage.max_logprob_gap=0.05",
        "stage.warmup_ratio=0",
    ]
    outcome = command(*SMALL, *words)
    gaps = [line["sampling/sampling_logp_difference/mean"] for line in _lines()]
    assert gaps[0] < 0.01, "at first both have the same weights"
    if follows:
        assert outcome.code == 0, outcome.err
        assert max(gaps) < 0.05
        assert "sampling/importance_sampling_ratio/mean" in _lines()[0]
    else:
        assert outcome.code == 1
        assert "vLLM has stale weights: its log-probabilities differ" in outcome.err
        assert "restart the vLLM server" in outcome.err
        assert one_line(outcome.err)


# Validation


def test_the_best_weights_are_kept_and_named(command: Command, labelled: list[Example], make_solutions: Any) -> None:
    write_rows(Path("held.jsonl"), [msgspec.structs.replace(row, id=f"held-{row.id}") for row in make_solutions(12, 9)])
    words = ["stage.validation_examples=held.jsonl", "stage.eval_steps=2", "stage.learning_rate=0.001", "stage.max_tokens=100",
             "stage.push=./published"]  # fmt: skip
    outcome = command(*SMALL, *words)
    assert outcome.code == 0, outcome.err
    measured = [line for line in _lines() if "eval_f1" in line]
    assert [line["step"] for line in measured] == [2, 3], "every second step, and the last one"
    assert all({"eval_f1", "eval_maj_f1"} <= line.keys() for line in measured)
    best = max(measured, key=lambda line: line["eval_f1"])
    manifest = json.loads(Path("runs/mine/rl/manifest.json").read_text("utf-8"))
    assert (manifest["best"]["step"], manifest["best"]["eval_f1"]) == (best["step"], best["eval_f1"])
    load_model("runs/mine/rl/best", device="cpu")
    assert "GRPO" in Path("published/README.md").read_text("utf-8")
    load_model("published", device="cpu")

"""GRPO with the real trainer: which prompts it gets, which labels, which reward, and what it leaves behind."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import ALL_CORRECT, WITHOUT_ERROR, Example, Generation, Gold
from deepcritic.tasks.first_error import FirstError
from deepcritic.training.grpo_rollouts import RolloutFunction
from deepcritic.training.prompts import Prompt, prefilter, prompt_of

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")

from deepcritic.hub.models import load_model  # noqa: E402
from deepcritic.samplers.base import Sampling  # noqa: E402
from deepcritic.stages import rl  # noqa: E402
from deepcritic.training import grpo  # noqa: E402

pytestmark = pytest.mark.slow
BASE = "deepcritic://microworld/models/base"
Command = Callable[..., Any]
SMALL = (
    "experiment=microworld/rl", f"model={BASE}", "stage.examples=labelled.jsonl", "stage.steps=2", "stage.prompts_per_step=2",
    "stage.num_generations=4", "stage.device_batch_size=8", "stage.max_tokens=64", "stage.logging_steps=1", "run=mine",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def labelled(make_solutions: Any, tmp_path: Path) -> list[Example]:
    rows: list[Example] = make_solutions(16)
    write_rows(tmp_path / "labelled.jsonl", rows)
    return rows


def _labels(rows: list[Example]) -> dict[str, Any]:
    return {row.id: row.gold.first_error for row in rows}


def _prompt(row: Example, label: int) -> Prompt:
    labelled = msgspec.structs.replace(row, gold=Gold(first_error=label))
    prompt = prompt_of(labelled, FirstError("deepcritic://microworld/templates/critique.txt"), 0)
    assert prompt is not None
    return prompt


def _manifest(run: str = "mine") -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(Path(f"runs/{run}/rl/manifest.json").read_text("utf-8"))
    return manifest


# Which prompts


def test_the_prefilter_keeps_what_is_sometimes_right(
    make_solutions: Any, fake_sampler: Any, open_folder: Any, critic_task: Any
) -> None:
    prompts = [_prompt(row, 2) for row in make_solutions(5)]
    replies: dict[str, Any] = {"p0": [2, 2, 2], "p1": [1, 3, -1], "p2": [2, 1, 2], "p3": ["?", 2, "?"], "p4": None}

    def answer(request: Any, sample: int) -> str | None:
        given = replies[request.keys[0].example_id]
        return None if given is None else f"\\boxed{{{given[sample]}}}"

    teacher = fake_sampler(answer)
    with open_folder("rl") as folder:
        folder.ledger("prompts").enter(5)
        kept, counts = prefilter(folder, prompts, critic_task, teacher, "fake", Sampling(max_tokens=8), 3, 0)
        ledger = folder.ledger("prompts")
    assert [prompt.id for prompt in kept] == ["p2", "p3"]
    assert dict(ledger.filtered) == {"always right": 1, "never right": 1}
    assert dict(ledger.failed) == {"no reply": 1}
    assert (counts["generations"], counts["failures"]) == (12, 3)
    assert [request.messages for request in teacher.asked] == [prompt.question.messages for prompt in prompts]


@pytest.mark.parametrize("lost", [1, 2])
def test_a_prompt_that_lost_some_draws_is_judged_by_those_there_are(
    make_solutions: Any, fake_sampler: Any, open_folder: Any, critic_task: Any, lost: int
) -> None:
    """Always right is always right, though a draw failed for reasons of our own."""
    prompts = [_prompt(row, 2) for row in make_solutions(1)]
    teacher = fake_sampler(lambda request, sample: None if sample < lost else "\\boxed{2}")
    with open_folder("rl") as folder:
        kept, _ = prefilter(folder, prompts, critic_task, teacher, "fake", Sampling(max_tokens=8), 3, 0)
        assert kept == []
        assert dict(folder.ledger("prompts").filtered) == {"always right": 1}


# Which labels and which reward


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Looks over the stage's shoulder: what the trainer is given, and every reward that it is told."""
    seen: dict[str, Any] = {"batches": []}
    from deepcritic.training.grpo import grpo_trainer as theirs

    def trainer(folder: Any, prompts: list[Prompt], *given: Any) -> Any:
        seen.update(prompts=prompts, labels={prompt.id: prompt.gold.first_error for prompt in prompts})
        made = theirs(folder, prompts, *given)
        seen["columns"] = made.train_dataset.column_names
        seen["names"] = [row["prompt"] for row in made.train_dataset]
        return made

    class Watched(RolloutFunction):
        def __call__(self, names: list[str], trainer: Any) -> dict[str, Any]:
            drawn = super().__call__(names, trainer)
            seen["batches"].append(self.batch)
            return drawn

    monkeypatch.setattr(rl, "grpo_trainer", trainer)
    monkeypatch.setattr(grpo, "RolloutFunction", Watched)
    return seen


def test_a_run_and_what_it_leaves_behind(
    command: Command, labelled: list[Example], watched: dict[str, Any], critic_task: Any
) -> None:
    outcome = command(*SMALL, "stage.prefilter_samples=0", "stage.learning_rate=0.001", "stage.temperature=1.0")
    assert outcome.code == 0, outcome.err
    folder, manifest = Path("runs/mine/rl"), _manifest()
    assert manifest["steps"] == 2
    assert manifest["counts"]["prompts"]["in"] == manifest["counts"]["prompts"]["out"] == 16
    assert not list(folder.glob("checkpoint-*"))
    assert not [file for file in folder.rglob("*") if file.suffix in {".bin", ".pt", ".pth", ".pkl"}]
    lines = [json.loads(line) for line in (folder / "training.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0 <= line["reward"] <= 1 for line in lines)
    load_model(str(folder / "model"), device="cpu")

    gold = _labels(labelled)
    assert watched["columns"] == ["prompt"], "the trainer is handed nothing of a row but its name"
    assert watched["labels"] == gold
    assert watched["names"] == [prompt.id for prompt in watched["prompts"]]
    assert len(watched["batches"]) == 2
    rewards = []
    for groups in watched["batches"]:
        assert [len(group.samples) for group in groups] == [4, 4]
        for group in groups:
            row = next(row for row in labelled if row.id == group.prompt.id)
            assert group.prompt.question == critic_task.ask(row.item)
            for sample in group.samples:
                assert sample.verdict == critic_task.parse(sample.text)
                assert sample.reward == float(sample.verdict == row.gold.first_error)
        rewards.append([sample.reward for group in groups for sample in group.samples])
    means = [sum(values) / len(values) for values in rewards]
    assert [line["reward"] for line in lines] == pytest.approx(means, abs=1e-4), "the reward is the task's and nothing else"


def test_shuffled_labels_are_a_permutation(command: Command, labelled: list[Example], watched: dict[str, Any]) -> None:
    words = [*SMALL, "stage.prefilter_samples=0", "stage.steps=1", "stage.shuffle_labels=true", "stage.all_correct_share=null"]
    assert command(*words).code == 0
    gold, found = _labels(labelled), watched["labels"]
    assert Counter(gold.values()) == Counter(found.values())
    assert gold != found
    classes = {prompt.id: prompt.stratum == WITHOUT_ERROR for prompt in watched["prompts"]}
    assert classes == {name: label == ALL_CORRECT for name, label in found.items()}, "the class is that of the given label"
    first = dict(found)
    assert command(*words, "run=again").code == 0
    assert watched["labels"] == first, "the same seed gives the same permutation"


def test_prompts_are_filtered_by_the_starting_model(command: Command, make_solutions: Any, watched: dict[str, Any]) -> None:
    rows = make_solutions(48, 3)
    write_rows(Path("labelled.jsonl"), rows)
    words = [*SMALL, "stage.steps=1", "stage.prefilter_samples=4", "stage.all_correct_share=null", "stage.prefilter_limit=40"]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    counts = _manifest()["counts"]["prompts"]
    assert (counts["in"], counts["filtered"]["not considered"]) == (48, 8)
    assert counts["in"] == counts["out"] + sum(counts["filtered"].values())
    assert counts["out"] == len(watched["prompts"]) >= 2
    draws = list(read_rows(Path("runs/mine/rl/generations.jsonl"), Generation))
    assert len(draws) == 160 == _manifest()["prefilter"]["generations"]
    kept = {prompt.id for prompt in watched["prompts"]}
    assert counts["filtered"].get("never right", 0) + counts["filtered"].get("always right", 0) == 40 - len(kept)


def test_rows_without_a_label_are_passed_over(command: Command, labelled: list[Example], watched: dict[str, Any]) -> None:
    bare = [msgspec.structs.replace(row, id=f"bare-{row.id}", gold=msgspec.structs.replace(row.gold)) for row in labelled[:3]]
    bare = [msgspec.convert({**msgspec.to_builtins(row), "gold": {"reference_answer": "1"}}, Example) for row in bare]
    write_rows(Path("labelled.jsonl"), [*labelled, *bare])
    assert command(*SMALL, "stage.prefilter_samples=0", "stage.steps=1").code == 0
    assert _manifest()["counts"]["prompts"]["in"] == 16


# Bad input


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["stage.device_batch_size=3"],
            2,
            "stage.prompts_per_step x stage.num_generations=8 is not a multiple of stage.device_batch_size=3",
        ),
        (["model=null"], 2, "no model is given; set model=PATH"),
        (
            ["stage.save_steps=3", "stage.logging_steps=2"],
            2,
            "stage.save_steps: no multiple; found 3; expected a multiple of stage.logging_steps=2",
        ),
        (["stage.loss_type=gpro"], 2, "stage.loss_type: invalid choice; found 'gpro'; expected grpo, dr_grpo"),
        (["stage.vllm_mode=collocate"], 2, "stage.vllm_mode: invalid choice; found 'collocate'; expected colocate, server"),
        (["stage.eval_steps=2"], 2, "stage.eval_steps needs stage.validation_examples=FILE"),
        (["stage.max_prompt_tokens=5", "stage.prefilter_samples=0"], 1, "labelled.jsonl: too few prompts remain; found 0"),
        (["stage.steps=null"], 2, "stage.steps and stage.epochs are both null"),
        (
            ["stage.prompts_per_step=40", "stage.num_generations=2", "stage.prefilter_samples=0"],
            1,
            "labelled.jsonl: too few prompts remain",
        ),
        (["stage.examples=nowhere.jsonl"], 1, "examples: no such file"),
    ],
)
def test_bad_input_is_refused(command: Command, labelled: list[Example], words: list[str], code: int, said: str) -> None:
    outcome = command(*SMALL, *words)
    assert outcome.code == code
    assert len(outcome.err.splitlines()) == 1
    assert said in outcome.err
    assert not Path("runs/mine/rl/manifest.json").exists()

"""The reward as other trainers take it: TRL by an import, verl by a file, with the data and the command of the examples."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcritic.errors import InputError
from deepcritic.rewards import compute_score, judgment_reward, reward_of
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item
from deepcritic.tasks.first_error import FirstError

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def _module(path: str) -> Any:
    """As verl loads `custom_reward_function.path`."""
    spec = importlib.util.spec_from_file_location("custom_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def verl(tmp_path: Path) -> list[str]:
    """The words of the example command: what verl would be started with."""
    fake = tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then exec {shlex.quote(sys.executable)} "$@"; fi\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}"}
    words = [str(EXAMPLES / "verl_grpo.sh"), "my model", "trainer.nnodes=2"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_command_for_verl(verl: list[str]) -> None:
    assert verl[:2] == ["-m", "verl.trainer.main_ppo"]
    assert "actor_rollout_ref.model.path=my model" in verl
    assert verl[-1] == "trainer.nnodes=2"
    given = dict(word.split("=", 1) for word in verl[2:])
    assert given["algorithm.adv_estimator"] == "grpo"
    assert given["custom_reward_function.name"] == "compute_score"


@pytest.mark.parametrize(
    ("reply", "truth", "expected"),
    [
        ("The second step is wrong. \\boxed{2}<|im_end|>", "2", 1.0), ("\\boxed{2}", 2, 1.0), ("\\boxed{3}", "2", 0.0),
        ("\\boxed{-1}", "-1", 1.0), ("\\boxed{-1}", " -1 ", 1.0), ("\\boxed{-1}", 1, 0.0), ("no verdict", "-1", 0.0),
        ("", 1, 0.0),
        ("<think>\\boxed{2}", "2", 0.0), ("<think>\\boxed{1}</think>\\boxed{2}", "2", 1.0),
    ],
)  # fmt: skip
def test_verls_score(verl: list[str], reply: str, truth: int | str, expected: float) -> None:
    given = dict(word.split("=", 1) for word in verl[2:])
    score = getattr(_module(given["custom_reward_function.path"]), given["custom_reward_function.name"])
    called = {"data_source": "deepcritic", "solution_str": reply, "ground_truth": truth, "extra_info": {"index": 3}}
    found = score(**called)
    assert type(found) is float
    assert found == expected
    assert score(**{**called, "extra_info": None}) == expected
    assert score(**called, sandbox_fusion_url=None, concurrent_semaphore=None) == expected, "newer releases say more"


@pytest.mark.parametrize("truth", ["two", "0", 0, "-2", None, True, "1.0", ""])
def test_a_truth_that_is_none_is_no_score(truth: Any) -> None:
    score = _module(str(Path(sys.modules["deepcritic.rewards"].__file__ or ""))).compute_score
    with pytest.raises(InputError, match="not a first wrong step"):
        score(data_source="deepcritic", solution_str="\\boxed{1}", ground_truth=truth, extra_info={})


def test_the_data_for_verl(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="Parquet needs datasets: pip install deepcritic[train]")
    item = Item(problem="1 + 1?", steps=("1 + 1 = 3", "so 3"))
    golds = [Gold(first_error=1), Gold(first_error=ALL_CORRECT), Gold()]
    write_rows(
        tmp_path / "rows.jsonl", [Example(id=f"p{at}", item=item, gold=gold, source="made") for at, gold in enumerate(golds)]
    )
    words = [sys.executable, str(EXAMPLES / "verl_data.py"), str(tmp_path / "rows.jsonl"), str(tmp_path / "train.parquet")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = list(datasets.load_dataset("parquet", data_files=str(tmp_path / "train.parquet"), cache_dir=str(tmp_path))["train"])
    assert len(made) == 2, "a row without a label has no ground truth"
    task = FirstError()
    for row, gold in zip(made, golds, strict=False):
        assert row.keys() == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
        (message,) = task.ask(item).messages
        assert row["prompt"] == [{"role": "user", "content": message.content}]
        assert row["reward_model"] == {"style": "rule", "ground_truth": str(gold.first_error)}
        assert isinstance(gold.first_error, int)
        assert judgment_reward([task.format(gold.first_error)], [int(row["reward_model"]["ground_truth"])]) == [1.0]


@pytest.mark.parametrize(
    ("completions", "labels", "said"),
    [
        (["x"], [1, 2], "completions: not one reply for each label; found 1; expected a list of 2"),
        (["x", "y"], [1], "completions: not one reply for each label; found 2; expected a list of 1"),
        ("x", [1], "completions: not one reply for each label; found 'one text'"),
        ([5], [1], "completions: no reply; found 5; expected a text, or a list of messages"),
    ],
)
def test_completions_that_are_no_replies(completions: Any, labels: list[int], said: str) -> None:
    with pytest.raises(InputError) as caught:
        judgment_reward(completions, first_error=labels)
    assert str(caught.value).startswith(said)


def test_a_single_message_is_a_conversation() -> None:
    assert judgment_reward([{"role": "assistant", "content": "\\boxed{2}"}], first_error=[2]) == [1.0]


def test_any_task_has_its_reward() -> None:
    """The gold and what undoes a shuffle come with each reply, whatever they are."""

    class Sides:
        name = "sides"

        def parse(self, text: str, context: Any = None) -> str | None:
            return {"A": "B", "B": "A"}.get(text) if context == "swapped" else text or None

        def reward(self, verdict: str | None, gold: str) -> float:
            return 1.0 if verdict == gold else -1.0

    reward = reward_of(Sides())  # type: ignore[arg-type]
    replies: list[Any] = ["A", "A", "", [{"role": "assistant", "content": "B"}]]
    assert reward(replies, gold=["A", "A", "A", "A"], context=[None, "swapped", None, "swapped"]) == [1.0, -1.0, -1.0, 1.0]
    assert reward(["A"], gold=["A"]) == [1.0]


LABELS = [2, "2", " 2 ", np.int64(2), np.int8(2)]
NO_LABELS = [0, "0", None, float("nan"), 2.0, "2.0", "two", "", True, -2, "-2", "+2", 10**7, [2], "٢"]


@pytest.mark.parametrize("label", LABELS)
def test_a_label_is_read_by_both_rewards(label: Any) -> None:
    assert judgment_reward(["\\boxed{2}", "\\boxed{1}"], first_error=[label, label]) == [1.0, 0.0]
    assert compute_score("x", "\\boxed{2}", label) == 1.0


@pytest.mark.parametrize("label", NO_LABELS, ids=repr)
def test_what_is_no_label_is_refused_by_name_by_both_rewards(label: Any) -> None:
    with pytest.raises(InputError, match=r"first_error\[1\]: not a first wrong step"):
        judgment_reward(["\\boxed{2}", "\\boxed{2}"], first_error=[2, label])
    with pytest.raises(InputError, match="ground_truth: not a first wrong step"):
        compute_score("x", "\\boxed{2}", label)


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("\\boxed{2}", 1.0),
        ([{"role": "assistant", "content": "\\boxed{2}"}], 1.0),
        ([{"role": "user", "content": "\\boxed{1}"}, {"role": "assistant", "content": [{"text": "\\boxed{2}"}]}], 1.0),
        ([{"role": "assistant", "content": ["\\boxed", "{2}"]}], 1.0),
        ([{"role": "assistant", "content": [{"type": "image_url", "image_url": "x"}]}], 0.0),
        ([{"role": "assistant", "content": None}], 0.0),
        ([{"role": "assistant"}], 0.0),
        ([], 0.0),
        (None, 0.0),
        ("", 0.0),
    ],
)  # fmt: skip
def test_completions_of_any_form_are_read_by_both_rewards(completion: Any, reward: float) -> None:
    assert judgment_reward([completion], first_error=[2]) == [reward]
    assert compute_score("x", completion, 2) == reward

"""A process reward model that learnt, in seconds, to see operations that the problem did not ask for."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic.microworld.world import Problem, judge, write_solution
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item


def solutions(count: int, split: str, seed: int) -> Iterator[Example]:
    """Solutions of chains of sums; about half of them have a step that does not add. No two splits share a problem."""
    rng, made = random.Random(f"prm/{split}/{seed}"), 0
    while made < count:
        length = rng.choice((3, 4))
        problem = Problem(rng.randrange(10), tuple(("+", rng.randrange(10)) for _ in range(length)))
        if problem.split != split:
            continue
        steps = write_solution(problem, rng, {"operation": 0.2})
        truth = judge(problem, steps)
        assert truth is not None
        item, gold = Item(problem=problem.text, steps=tuple(steps)), Gold(first_error=truth.first_error)
        yield Example(id=f"{split}-{made}", item=item, gold=gold, source="microworld")
        made += 1


@pytest.fixture(scope="session")
def make_sums() -> Callable[[int, str, int], list[Example]]:
    return lambda count, split, seed: list(solutions(count, split, seed))


def stepwise(rows: list[Example]) -> list[dict[str, Any]]:
    """The rows as data sets for stepwise supervision have them: prompt, completions, and a label for each."""

    def right(row: Example, step: int) -> bool:
        assert isinstance(row.gold.first_error, int)
        return row.gold.first_error == ALL_CORRECT or step < row.gold.first_error

    return [
        {
            "prompt": row.item.problem,
            "completions": list(row.item.steps),
            "labels": [right(row, step) for step in range(1, len(row.item.steps) + 1)],
        }
        for row in rows
    ]


@pytest.fixture(scope="session")
def prm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by TRL's PRMTrainer where the installed TRL still has it (up to 1.13), else by transformers' Trainer on the
    same tokens and labels."""
    torch = pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForTokenClassification

    from deepcritic.shipped_models import shipped_path

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(shipped_path("deepcritic://microworld/models/base"))
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, num_labels=2, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model, data = Qwen2ForTokenClassification(config), stepwise(list(solutions(960, "train", 0)))
    folder = tmp_path_factory.mktemp("prm")
    options: dict[str, Any] = {
        "output_dir": str(folder / "work"), "max_steps": 60, "per_device_train_batch_size": 16, "learning_rate": 5e-3,
        "lr_scheduler_type": "cosine", "use_cpu": True, "report_to": [], "save_strategy": "no", "disable_tqdm": True, "seed": 0,
    }  # fmt: skip
    _trainer(model, tokenizer, data, options).train()
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def _trainer(model: Any, tokenizer: Any, data: list[dict[str, Any]], options: dict[str, Any]) -> Any:
    from datasets import Dataset
    from transformers import DataCollatorForTokenClassification, Trainer, TrainingArguments

    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    try:
        from trl.experimental.prm import PRMConfig, PRMTrainer
    except ImportError:
        rows = [_tokens(tokenizer, row) for row in data]
        collator = DataCollatorForTokenClassification(tokenizer)
        return Trainer(model=model, args=TrainingArguments(**options), train_dataset=rows, data_collator=collator)
    arguments = PRMConfig(**options, step_separator="\n", max_length=256)
    return PRMTrainer(model=model, args=arguments, processing_class=tokenizer, train_dataset=Dataset.from_list(data))


def _tokens(tokenizer: Any, row: dict[str, Any]) -> dict[str, Any]:
    """As PRMTrainer does it: the prompt, then each step and the separator, whose last token carries the step's label."""

    def plain(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    ids = plain(row["prompt"])
    labels = [-100] * len(ids)
    for step, label in zip(row["completions"], row["labels"], strict=True):
        tokens = plain(step) + plain("\n")
        ids += tokens
        labels += [-100] * (len(tokens) - 1) + [int(label)]
    return {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}

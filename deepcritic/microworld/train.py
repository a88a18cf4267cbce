"""Train the small world's models from scratch: a foundation, and from it the generator, the base critic and the teacher.

    python -m deepcritic.microworld.train runs/microworld        # about an hour on two cores

The foundation learns to solve problems and to check single steps. Each role is a short course that starts from it, with its own
lessons (see `lessons`). Only problems of the train split are used.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deepcritic.microworld.lessons import LESSONS, lessons
from deepcritic.microworld.tokenizer import train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH, POOL = 32, 8


class Course(NamedTuple):
    """How a role is trained: the initial model, the seed of the lessons, and the number of steps.

    The learning rate follows a cosine that ends at step `horizon`.
    """

    start: str | None
    lessons: int
    steps: int
    horizon: int
    rate: float


COURSES = {
    "foundation": Course(None, 1, 2000, 2500, 2e-3),
    "generator": Course("foundation", 1, 400, 400, 5e-4),
    # An earlier checkpoint of the foundation, which checks less reliably and so leaves something to learn.
    "base-1": Course("foundation-1500", 1, 300, 300, 3e-4),
    "base": Course("base-1", 2, 300, 300, 5e-4),
    "teacher": Course("foundation", 1, 500, 500, 5e-4),
    # Not shipped: the teacher, trained to write a whole critique in one reply (`scripts/evidence seeds`).
    "whole": Course("teacher", 1, 300, 300, 5e-4),
    # Not shipped: the base critic, trained to score responses, with faults (`scripts/evidence spct`).
    "judge": Course("base", 1, 900, 900, 1e-3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the models are written")
    parser.add_argument("--roles", nargs="+", default=list(COURSES), choices=list(COURSES))
    arguments = parser.parse_args()
    for role in arguments.roles:
        start = COURSES[role].start
        train(role, arguments.folder / start if start else None, arguments.folder / role)


def train(name: str, start: Path | None, folder: Path) -> None:
    """Train one course, from the model at `start` or from scratch, and save it in bf16 with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = train_tokenizer(corpus()) if start is None else AutoTokenizer.from_pretrained(start)
    model = new_model(tokenizer) if start is None else AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    course, role = COURSES[name], name.partition("-")[0]
    optimizer = torch.optim.AdamW(model.parameters(), lr=course.rate, betas=(0.9, 0.98), weight_decay=0.01)
    began = time.monotonic()
    for step, (ids, labels) in enumerate(itertools.islice(batches(role, course.lessons, tokenizer), course.steps)):
        rate = course.rate * min(1, (step + 1) / 100) * (0.05 + 0.475 * (1 + math.cos(math.pi * step / course.horizon)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step + 1 == course.steps:
            print(f"{name}: step {step}, loss {loss.item():.4f}, {time.monotonic() - began:.0f} s", flush=True)
        if role == "foundation" and step % 500 == 499:
            save(model, tokenizer, folder.with_name(f"{role}-{step + 1}"))
    # The foundation stays in float32, as the roles continue from it. Shipped models are bf16.
    save(model if role == "foundation" else model.to(torch.bfloat16), tokenizer, folder)


def new_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A Qwen2 model of half a million parameters, initialized at random."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=96, intermediate_size=288, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=4096, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return Qwen2ForCausalLM(config)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"saved {folder}")


def corpus() -> Iterator[str]:
    """The tokenizer's training text."""
    for role in LESSONS:
        for lesson in itertools.islice(lessons(role, 0), 3000):
            for turn in lesson:
                yield from turn
    yield from itertools.repeat("system\nuser\nassistant\n", 50)


def batches(role: str, seed: int, tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (ids, labels), both (batch, length). Lessons of similar length are batched. Only replies count in the loss."""
    import torch

    stream = (encode(lesson, tokenizer) for lesson in lessons(role, seed))
    order = random.Random(0)
    while True:
        pool = sorted(itertools.islice(stream, BATCH * POOL), key=lambda row: len(row[0]))
        groups = [pool[start : start + BATCH] for start in range(0, len(pool), BATCH)]
        order.shuffle(groups)
        for rows in groups:
            width = max(len(ids) for ids, _ in rows)
            ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row, _ in rows])
            labels = torch.tensor([row + [-100] * (width - len(row)) for _, row in rows])
            yield ids, labels


def encode(lesson: list[tuple[str, str]], tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The conversation in the tokenizer's chat format, with labels on the replies and their end tokens."""

    def plain(text: str) -> Any:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    ids: list[int] = []
    labels: list[int] = []
    for question, reply in lesson:
        asked = plain(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
        answered = plain(f"{reply}<|im_end|>")
        after = plain("\n")
        ids += asked + answered + after
        labels += [-100] * len(asked) + answered + [-100] * len(after)
    return ids, labels


if __name__ == "__main__":
    main()

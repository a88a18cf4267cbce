"""Train the small world's models from scratch: a foundation, and from it the generator, the base critic and the teacher.

    python -m deepcritic.smallworld.train runs/smallworld --instance 1        # about an hour on one core

Each instance has its own initial weights and lessons. All share the same misconceptions. Only problems of the train split are
used. A finished course (its folder has weights) is not trained again. A course that was killed continues from its newest
checkpoint and ends with the weights of an uninterrupted one. Checkpoints are models too: `premises` can measure them.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deepcritic.microworld.tokenizer import train_tokenizer
from deepcritic.smallworld.lessons import LESSONS, Lesson, lessons

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH, POOL, CHUNK = 16, 16, 8
"""Conversations in a step; steps whose conversations are sorted by length together; conversations in a forward pass. Small passes
stay in the processor's cache."""
CHECKPOINT_STEPS = 250
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps for each weight, by PyTorch's names."""


class Course(NamedTuple):
    """How a role is trained: the initial model, the number of steps, and the learning rate (with cosine decay)."""

    start: str | None
    steps: int
    rate: float


COURSES = {
    "foundation": Course(None, 7000, 2e-3),
    "generator": Course("foundation", 800, 5e-4),
    "base": Course("foundation", 800, 5e-4),
    "teacher": Course("foundation", 1500, 1e-3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the models are written")
    parser.add_argument("--instance", type=int, default=1, help="which initial weights and lessons")
    parser.add_argument("--roles", nargs="+", default=list(COURSES), choices=list(COURSES))
    arguments = parser.parse_args()
    for role in arguments.roles:
        if not (arguments.folder / role / "model.safetensors").exists():
            train(role, arguments.folder, arguments.instance)


def train(role: str, folder: Path, instance: int) -> None:
    """Train one course and save its model and tokenizer in `folder`: the foundation in float32, as the roles continue from it,
    the others in bf16. Checkpoints are `folder/checkpoints/ROLE-STEPS`."""
    import torch

    course = COURSES[role]
    torch.manual_seed(instance)
    model, tokenizer, optimizer, done = _newest(role, folder)
    began = time.monotonic()
    batches = itertools.islice(_batches(role, instance, tokenizer), done, course.steps)
    for step, (ids, labels) in enumerate(batches, start=done):
        rate = course.rate * min(1, (step + 1) / 100) * (0.05 + 0.475 * (1 + math.cos(math.pi * step / course.steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _backward(model, ids, labels)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step + 1 == course.steps:
            print(f"{role}: step {step}, loss {loss:.4f}, {time.monotonic() - began:.0f} s", flush=True)
        if (step + 1) % CHECKPOINT_STEPS == 0:
            _checkpoint(folder / "checkpoints" / f"{role}-{step + 1}", model, tokenizer, optimizer)
    saved = model if role == "foundation" else model.to(torch.bfloat16)
    saved.save_pretrained(folder / role)
    tokenizer.save_pretrained(folder / role)


def _backward(model: PreTrainedModel, ids: torch.Tensor, labels: torch.Tensor) -> float:
    """Add the gradient of the mean loss over the labels, and return that loss."""
    import torch

    loss, count = 0.0, int((labels[:, 1:] != -100).sum())
    for some, wanted in zip(torch.split(ids, CHUNK), torch.split(labels[:, 1:], CHUNK), strict=True):
        kept = wanted != -100
        states = model.base_model(input_ids=some).last_hidden_state[:, :-1][kept]
        part = torch.nn.functional.cross_entropy(model.get_output_embeddings()(states), wanted[kept], reduction="sum") / count
        torch.autograd.backward(part)
        loss += part.item()
    return loss


def _newest(role: str, folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, torch.optim.AdamW, int]:
    """The model, tokenizer and optimizer of a course's newest checkpoint, or of its start, and the steps they have trained."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    course = COURSES[role]
    steps = max((int(path.name.split("-")[1]) for path in (folder / "checkpoints").glob(f"{role}-*[0-9]")), default=0)
    place = folder / "checkpoints" / f"{role}-{steps}" if steps else folder / course.start if course.start else None
    if place is None:
        tokenizer = train_tokenizer(_corpus(), vocabulary=400)
        model = _new_model(tokenizer)
    else:
        tokenizer = AutoTokenizer.from_pretrained(place)
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=course.rate, betas=(0.9, 0.98), weight_decay=0.01)
    if steps and place:
        moments = load_file(place / "optimizer.safetensors")
        state = {
            at: {"step": torch.tensor(float(steps)), **{moment: moments[f"{name}/{moment}"] for moment in MOMENTS}}
            for at, (name, _) in enumerate(model.named_parameters())
        }
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return model, tokenizer, optimizer, steps


def _checkpoint(place: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, optimizer: torch.optim.AdamW) -> None:
    """Write a checkpoint that is complete as soon as it has its name."""
    from safetensors.torch import save_file

    unfinished = place.with_name(f"{place.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    moments = {
        f"{name}/{moment}": optimizer.state[parameter][moment]
        for name, parameter in model.named_parameters()
        for moment in MOMENTS
    }
    save_file(moments, unfinished / "optimizer.safetensors")
    unfinished.rename(place)


def _new_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A random Qwen2 model of half a million parameters. vLLM's CPU attention requires heads of 32."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=96, intermediate_size=288, num_hidden_layers=4, num_attention_heads=3,
        num_key_value_heads=3, max_position_embeddings=4096, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return Qwen2ForCausalLM(config)


def _corpus() -> Iterator[str]:
    """The tokenizer's training text, the same for every instance."""
    for role in LESSONS:
        for lesson in itertools.islice(lessons(role, 0), 1500):
            for turn in lesson:
                yield from turn
    yield from itertools.repeat("system\nuser\nassistant\n", 50)


def _batches(role: str, seed: int, tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (ids, labels), both (batch, length). Lessons of similar length are batched. Only replies count in the loss."""
    import torch

    stream = (_encode(lesson, tokenizer) for lesson in lessons(role, seed))
    order = random.Random(seed)
    while True:
        pool = sorted(itertools.islice(stream, BATCH * POOL), key=lambda row: len(row[0]))
        groups = [pool[start : start + BATCH] for start in range(0, len(pool), BATCH)]
        order.shuffle(groups)
        for rows in groups:
            width = max(len(ids) for ids, _ in rows)
            ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row, _ in rows])
            yield ids, torch.tensor([row + [-100] * (width - len(row)) for _, row in rows])


def _encode(lesson: Lesson, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The conversation in the tokenizer's chat format, with labels on the replies and their end tokens."""

    def plain(text: str) -> Any:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    ids: list[int] = []
    labels: list[int] = []
    for question, reply in lesson:
        asked = plain(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
        answered, after = plain(f"{reply}<|im_end|>"), plain("\n")
        ids += asked + answered + after
        labels += [-100] * len(asked) + answered + [-100] * len(after)
    return ids, labels


if __name__ == "__main__":
    main()

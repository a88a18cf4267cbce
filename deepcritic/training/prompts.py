"""The prompts of RL: reading, filtering by the starting model's pass rate, balancing of classes.

    prompts = read_prompts(folder, path, task, tokenizer, room(model, None, None), False, seed=0)
    prompts, counts = prefilter(folder, prompts, task, sampler, model, Sampling(), samples=4, seed=0)
    prompts = balance(prompts, 0.5)                      # half of them all correct
    balance_batches(trainer, [prompt.stratum for prompt in prompts])     # and half of each batch

Only the training labels are used, never hidden true labels.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepcritic.datasets import own
from deepcritic.datasets.reading import Rows
from deepcritic.errors import InputError
from deepcritic.hub.models import context_length
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_json
from deepcritic.samplers.base import FLOOR, Lengths, Sampler, Sampling, unknown_context
from deepcritic.samplers.resume import Draws, request
from deepcritic.schema import WITH_ERROR, WITHOUT_ERROR, Key, sample_seed
from deepcritic.tasks.base import CriticTask, Question, verdict_of
from deepcritic.text.chat_template import prompt_ids
from deepcritic.training.processes import leads, world_size
from deepcritic.training.trl_internals import replace_train_sampler

CALL = "prefilter"
ASK, KEPT = "rl", "kept.json"


@dataclass(frozen=True)
class Prompt:
    """A row for RL: prompt, gold, and the class for balancing."""

    id: str
    question: Question
    gold: Any
    stratum: str
    origin: str = ""
    """The row's source and licence."""
    item: Any = None
    """What the prompt is about."""

    def ids(self, tokenizer: Any) -> list[int]:
        """The model's input tokens."""
        return prompt_ids(tokenizer, self.question.messages, self.question.prefix)


def prompt_of(row: Any, task: CriticTask[Any], seed: int) -> Prompt | None:
    """The prompt of a row of the task's type; None if its gold does not define a right answer.

    A task that shuffles does so once per row: all replies of a group answer the same question.
    """
    stratum = task.stratum(row.gold)
    if stratum is None:
        return None
    question = task.ask(row.item, seed=sample_seed(seed, Key(example_id=row.id, request=ASK)))
    origin = f"{getattr(row, 'source', '') or 'no source'} ({getattr(row, 'license', None) or 'no licence'})"
    return Prompt(id=row.id, question=question, gold=row.gold, stratum=stratum, origin=origin, item=row.item)


def read_prompts(
    folder: RunFolder,
    path: Rows,
    task: CriticTask[Any],
    tokenizer: Any,
    longest: int,
    shuffle_labels: bool,
    seed: int,
    **reading: Any,
) -> list[Prompt]:
    """The prompts of the labelled rows, in random order, without those of more than `longest` tokens. `reading`: options for
    custom rows (`columns`, `index_base`)."""
    prompts = [prompt for row in own.read(path, task.row, **reading) if (prompt := prompt_of(row, task, seed)) is not None]
    ledger = folder.ledger("prompts")
    ledger.enter(len(prompts))
    random.Random(seed).shuffle(prompts)
    if shuffle_labels:
        prompts = shuffled(prompts, seed)
    fitting = [prompt for prompt in prompts if len(prompt.ids(tokenizer)) <= longest]
    if len(fitting) < len(prompts):
        ledger.drop("prompt too long", len(prompts) - len(fitting))
    return fitting


def room(model: str, max_tokens: int | None, max_prompt_tokens: int | None) -> int:
    """The token limit of a prompt: it leaves the reply `FLOOR` tokens of the model's context, or fewer with a smaller
    `max_tokens`."""
    context = context_length(model)
    if context is None:
        if max_prompt_tokens is None or max_tokens is None:
            expected = "numbers for stage.max_prompt_tokens and stage.max_tokens"
            raise InputError("the model's context length is unknown", field="model", found=model, expected=expected)
        return max_prompt_tokens
    left = context - min(FLOOR, max_tokens or FLOOR)
    return left if max_prompt_tokens is None else min(left, max_prompt_tokens)


def reply_room(model: str, prompts: Sequence[Prompt], tokenizer: Any, max_tokens: int | None) -> int:
    """The token limit of a reply: `max_tokens`, capped by the context minus the shortest prompt."""
    shortest = min((len(prompt.ids(tokenizer)) for prompt in prompts), default=0)
    limit = Lengths(context_length(model)).limit(shortest, Sampling(max_tokens=max_tokens))
    if limit is None:
        raise unknown_context(model)
    return max(limit, 1)


def shuffled(prompts: list[Prompt], seed: int) -> list[Prompt]:
    """The same prompts with shuffled gold."""
    others = list(prompts)
    random.Random(f"labels/{seed}").shuffle(others)
    pairs = zip(prompts, others, strict=True)
    return [dataclasses.replace(prompt, gold=other.gold, stratum=other.stratum) for prompt, other in pairs]


def prefilter(
    folder: RunFolder,
    prompts: list[Prompt],
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    model: str,
    sampling: Sampling,
    samples: int,
    seed: int,
) -> tuple[list[Prompt], dict[str, int]]:
    """The prompts for which the starting model's replies earn different rewards, such as some right and some wrong; and the
    counts.

    With several processes the leader samples, and the others wait for its list.
    """
    if not leads():
        names = _waited_for(folder.path / KEPT)
        return [prompt for prompt in prompts if prompt.id in names], {}
    requests = (
        request(prompt.question, sampling, example_id=prompt.id, call=CALL, seed=seed, samples=range(samples))
        for prompt in prompts
    )
    gold = {prompt.id: prompt.gold for prompt in prompts}
    judged: dict[str, list[float]] = {}
    with Draws(folder) as draws:
        drawn = draws.collect(requests, sampler(model=model), "prefilter", total=len(prompts) * samples)
        counts = draws.finish()
    for draw in drawn:
        verdict = verdict_of(draw, task)
        judged.setdefault(draw.key.example_id, []).append(task.reward(verdict, gold[draw.key.example_id]))
    ledger = folder.ledger("prompts")
    kept = []
    for prompt in prompts:
        rewards = judged.get(prompt.id)
        if rewards is None:
            ledger.fail("no reply")
        elif len(set(rewards)) == 1:  # failed replies do not count as wrong
            ledger.drop("always right" if rewards[0] == 1 else "never right")
        else:
            kept.append(prompt)
    if world_size() > 1:
        folder.require_complete()
        write_json(folder.path / KEPT, [prompt.id for prompt in kept])
    return kept, counts


def _waited_for(place: Path) -> set[str]:
    """Wait for a file from another process; a barrier would time out during hours of sampling."""
    while not place.is_file():
        time.sleep(1)
    return set(json.loads(place.read_text("utf-8")))


def balance(prompts: list[Prompt], all_correct_share: float | None) -> list[Prompt]:
    """The largest subset of `prompts`, in their order, with that share of all-correct ones.

    None keeps all, and so does a task without this class.
    """
    right = [prompt for prompt in prompts if prompt.stratum == WITHOUT_ERROR]
    wrong = [prompt for prompt in prompts if prompt.stratum == WITH_ERROR]
    if all_correct_share is None or (prompts and not right and not wrong):
        return prompts
    total = min(
        len(right) / all_correct_share if all_correct_share else len(wrong), len(wrong) / max(1e-9, 1 - all_correct_share)
    )
    keep = {prompt.id for prompt in right[: round(total * all_correct_share)] + wrong[: round(total * (1 - all_correct_share))]}
    return [prompt for prompt in prompts if prompt.id in keep]


def balanced_batches(strata: Sequence[str], size: int, seed: int) -> Iterator[list[int]]:
    """Batches of `size` indices of `strata`, each index once; every batch has the overall class shares.

    An incomplete last batch is dropped.

    >>> [sorted(batch) for batch in balanced_batches(["a"] * 4 + ["b"] * 4, 4, 0)]
    [[1, 3, 4, 7], [0, 2, 5, 6]]
    """
    waiting: dict[str, list[int]] = {}
    for place, stratum in enumerate(strata):
        waiting.setdefault(stratum, []).append(place)
    for stratum, places in waiting.items():
        random.Random(f"{stratum}/{seed}").shuffle(places)
    shares = {stratum: len(places) / len(strata) for stratum, places in waiting.items()}
    given: Counter[str] = Counter()
    for batch in range(len(strata) // size):
        chosen: list[int] = []
        for at in range(batch * size, (batch + 1) * size):
            open_classes = [stratum for stratum in waiting if waiting[stratum]]
            behind = max(open_classes, key=lambda stratum: shares[stratum] * (at + 1) - given[stratum])
            given[behind] += 1
            chosen.append(waiting[behind].pop())
        yield chosen


def balance_batches(trainer: Any, strata: Sequence[str]) -> None:
    """Make a GRPO trainer use `balanced_batches`. Call it before `order_by_epoch`, which sets the seed."""
    from torch import Generator
    from torch.utils.data import Sampler

    group: int = trainer.args.num_generations
    size: int = trainer.args.generation_batch_size // group
    again: int = trainer.args.num_iterations * trainer.args.steps_per_generation

    class Batches(Sampler[int]):
        generator = Generator()

        def __len__(self) -> int:
            return len(strata) // size * size * group * again

        def __iter__(self) -> Iterator[int]:
            for batch in balanced_batches(strata, size, self.generator.initial_seed()):
                yield from (place for _ in range(again) for place in batch for _ in range(group))

    replace_train_sampler(trainer, lambda _: Batches())

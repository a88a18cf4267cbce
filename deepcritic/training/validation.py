"""Validation during training: the critic judges labelled solutions with its current weights.

    validation = Validation(rows, task, max_tokens=200, votes=8)
    validation.check(model, tokenizer)                             # before anything is trained
    figures = validation.measure(trainer, tokenizer)               # {"eval_f1": 61.2, "eval_maj_f1": 64.0, ...}
    validate(trainer, tokenizer, validation, folder, every=20)     # or at every 20th step, keeping the best weights

`eval_f1` uses the most probable reply (temperature 0), `eval_maj_f1` the vote over `votes` replies sampled at `temperature`.
Every step uses the same seeds, so only the weights differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.limits import limited
from deepcritic.errors import InputError
from deepcritic.evaluation.judging import judge
from deepcritic.hub.models import context_length
from deepcritic.samplers.base import Lengths, Request, Sampling
from deepcritic.samplers.resume import request
from deepcritic.schema import Example, Generation, Judged
from deepcritic.tasks.base import CriticTask
from deepcritic.text.chat_template import prompt_ids
from deepcritic.training.checkpoints import best_of, keep_best
from deepcritic.training.processes import from_all, whole_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

GREEDY, VOTES = "validation", "validation votes"


@dataclass(kw_only=True)
class Validation:
    """Labelled solutions to judge with the current weights. `votes=0`: no vote."""

    rows: Sequence[Example]
    task: CriticTask[Any]
    max_tokens: int | None = None
    votes: int = 0
    temperature: float = 1.0
    batch_size: int = 256
    seed: int = 0

    @classmethod
    def read(cls, path: str, task: CriticTask[Any], limit: int | None = None, **options: Any) -> Validation:
        """Read examples from a file; `limit` labelled ones are taken, with proportional classes."""
        rows = list(limited((row for row in example_rows.read(path) if isinstance(row.gold.first_error, int)), limit))
        if not rows:
            raise InputError("no labelled example for validation", file=path, expected="rows with gold.first_error")
        return cls(rows=rows, task=task, **options)

    def check(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raises `InputError` if a prompt leaves no room for a reply."""
        lengths, sampling = Lengths(context_length(model)), Sampling(max_tokens=self.max_tokens)
        for row in self.rows:
            tokens = len(prompt_ids(tokenizer, self.task.ask(row.item).messages))
            if lengths.limit(tokens, sampling) == 0:
                raise InputError(
                    f"the prompt of validation example {row.id!r} leaves no room for a reply", field="stage.validation_examples",
                    found=lengths.refusal(tokens, sampling), expected="rows with shorter solutions",
                )  # fmt: skip

    def measure(self, trainer: Any, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
        """Metrics with the trainer's current weights, in percent; each process judges its share of the rows.

        `eval_f1`, `eval_error_accuracy`, `eval_correct_accuracy`, `eval_unparsed`, `eval_truncated`; with votes `eval_maj_f1`.
        """
        accelerator = trainer.accelerator
        share = self.rows[accelerator.process_index :: accelerator.num_processes]
        with whole_weights(trainer) as model:
            judged = from_all([self._judged(share, model, tokenizer, Sampling(temperature=0, max_tokens=self.max_tokens), 1)])
            drawn = Sampling(temperature=self.temperature, max_tokens=self.max_tokens)
            voted = from_all([self._judged(share, model, tokenizer, drawn, self.votes)]) if self.votes else []
        figures = self._figures([row for part in judged for row in part])
        if voted:
            figures["eval_maj_f1"] = self._f1s([row for part in voted for row in part], "vote_correct")["f1"]
        return {name: round(100 * value, 4) for name, value in figures.items() if math.isfinite(value)}

    def _judged(
        self,
        rows: Sequence[Example],
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        count: int,
    ) -> list[Judged]:
        from deepcritic.samplers.transformers import TransformersSampler

        engine = TransformersSampler.of(model, tokenizer, GREEDY, batch_size=self.batch_size)
        replies: dict[str, list[Generation]] = {row.id: [] for row in rows}
        for outcome in engine.stream(self._requests(rows, sampling, count)):
            if isinstance(outcome, Generation):  # `check` has refused over-long prompts
                replies[outcome.key.example_id].append(outcome)
        return [judge(row, replies[row.id], self.task, asked=count) for row in rows]

    def _requests(self, rows: Sequence[Example], sampling: Sampling, samples: int) -> Iterator[Request]:
        call = VOTES if sampling.temperature else GREEDY
        for row in rows:
            question = self.task.ask(row.item)
            yield request(question, sampling, example_id=row.id, call=call, seed=self.seed, samples=range(samples))

    def _figures(self, judged: list[Judged]) -> dict[str, float]:
        found = self._f1s(judged, "correct")
        return {
            "eval_f1": found["f1"],
            "eval_error_accuracy": found["error_accuracy"],
            "eval_correct_accuracy": found["correct_accuracy"],
            "eval_unparsed": float(np.mean([row.unparsed for row in judged])),
            "eval_truncated": float(np.mean([row.truncated for row in judged])),
        }

    def _f1s(self, judged: list[Judged], value: str) -> dict[str, float]:
        scored = [row for row in judged if getattr(row, value) is not None]
        columns = {
            "correct": np.array([getattr(row, value) for row in scored], float),
            "unparsed": np.array([row.unparsed for row in scored], float),
            "stratum": np.array([row.stratum for row in scored]),
        }
        return self.task.aggregate(columns)


def validate(
    trainer: Any,
    tokenizer: PreTrainedTokenizerBase,
    validation: Validation,
    folder: Path,
    every: int | None = None,
    base: str | None = None,
) -> None:
    """Make `trainer` validate at every `every`-th step and at the last one (None: at the end of each epoch).

    The metrics are logged to `training.jsonl`. The best weights so far by `eval_f1` are kept in `folder/best`; on ties the
    earlier ones (`base`: see `save_model`). A step is validated before its checkpoint is written: a run killed in between
    validates again.
    """
    from transformers import Trainer, TrainerCallback

    class Validating(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            last = control.should_training_stop or state.global_step >= state.max_steps
            due = state.epoch == int(state.epoch) if every is None else state.global_step % every == 0
            if not (due or last):
                return
            figures = validation.measure(trainer, tokenizer)
            due_to_log = control.should_log
            Trainer.log(trainer, dict(figures))  # not TRL's `log`, which would flush the averages of the steps so far
            control.should_log = due_to_log
            if figures.get("eval_f1", -1.0) > best_of(folder).get("eval_f1", -1.0):
                keep_best(trainer, tokenizer, folder, {"step": state.global_step, **figures}, base)

    trainer.add_callback(Validating())

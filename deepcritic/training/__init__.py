"""What SFT and RL share: checkpoints that are complete or not there, metrics as JSON lines, a model saved at once."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepcritic.errors import DeepCriticError
from deepcritic.rows import Key, sample_seed
from deepcritic.store import replacing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODEL = "model"
COMPLETE = "complete"
SHOWN = ("loss", "reward", "eval_loss", "eval_f1", "eval_maj_f1", "frac_reward_zero_std")
"""What the lines on the terminal tell of each step; `training.jsonl` has everything."""
_OF_THIS_START = frozenset({"num_tokens", "eval_num_tokens"})
"""What TRL counts anew at each start, so that a resumed run would say something else."""


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; half-written ones (their writer was killed) are removed."""
    best: tuple[int, Path] | None = None
    for place in folder.glob("checkpoint-*"):
        if not (place / COMPLETE).is_file():
            print(f"{place}: a half-written checkpoint was removed")
            shutil.rmtree(place)
            continue
        step = int(place.name.rpartition("-")[2])
        if best is None or step > best[0]:
            best = (step, place)
    return str(best[1]) if best else None


def train(trainer: Any, folder: Path) -> int:
    """Train from the newest complete checkpoint, or from the beginning, to the end; returns the number of steps."""
    from transformers import GenerationConfig

    checkpoint = last_checkpoint(folder)
    if checkpoint is not None:
        state = json.loads((Path(checkpoint) / "trainer_state.json").read_text("utf-8"))
        if state["global_step"] >= state["max_steps"]:  # asked to go on from the last step, the trainer would train further
            trainer._load_from_checkpoint(checkpoint)
            trainer.model.generation_config = GenerationConfig.from_pretrained(checkpoint)
            return int(state["global_step"])
    return int(trainer.train(resume_from_checkpoint=checkpoint).global_step)


def save_model(trainer: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    """Put the model and its tokenizer at `folder/model` at once. The checkpoints stay until the manifest is written."""
    temporary, final = folder / f".{MODEL}", folder / MODEL
    shutil.rmtree(temporary, ignore_errors=True)
    trainer.save_model(str(temporary))
    tokenizer.save_pretrained(str(temporary))
    (temporary / "training_args.bin").unlink(missing_ok=True)  # a pickle, of no use to a reader of the model
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    return final


def remove_checkpoints(folder: Path) -> None:
    """Of a finished stage: its checkpoints, which serve nothing any more. Before that, losing them means training anew."""
    for place in folder.glob("checkpoint-*"):
        shutil.rmtree(place)


def quiet(trainer: Any) -> None:
    """Take away the trainer's own printing: the recorder says the same in one line."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def order_by_epoch(trainer: Any, seed: int) -> None:
    """Let the order of the rows follow from `seed` and the epoch alone.

    The samplers of transformers and TRL draw it from a generator that a resumed run begins anew: from the second epoch
    on some rows would come twice and others not at all.
    """
    from torch import Generator
    from torch.utils.data import Sampler

    class Ordered(Sampler[int]):
        def __init__(self, inner: Any) -> None:
            self.inner, self.epoch = inner, 0

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __len__(self) -> int:
            return len(self.inner)

        def __iter__(self) -> Iterator[int]:
            self.inner.generator = Generator().manual_seed(
                sample_seed(seed, Key(example_id="order", request="", step=self.epoch))
            )
            return iter(self.inner)

    theirs = trainer._get_train_sampler
    trainer._get_train_sampler = lambda *given: Ordered(theirs(*given))


def recorder(folder: Path) -> Any:
    """A callback that marks complete checkpoints, writes `training.jsonl` and stops at a loss that is not a number.

    After a restart the lines beyond the checkpoint are dropped, so the file ends like that of an undisturbed run.
    """
    from transformers import TrainerCallback

    path = folder / "training.jsonl"

    class Recorder(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        put_off = False

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            lines = path.read_text("utf-8").splitlines() if path.exists() else []
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= state.global_step]
            with replacing(path) as file:
                file.write("".join(f"{line}\n" for line in kept).encode())
            self.began = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if "train_runtime" in (logs or {}):
                return  # the closing summary: it knows of this start alone
            values = {
                name: value
                for name, value in (logs or {}).items()
                if isinstance(value, int | float) and name not in _OF_THIS_START
            }
            if not math.isfinite(values.get("loss", 0.0)):
                raise DeepCriticError(f"the loss is {values['loss']} at step {state.global_step}: lower the learning rate")
            finite = {name: value for name, value in values.items() if math.isfinite(value)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **finite}) + "\n")
            shown = {name: values[name] for name in SHOWN if name in values}
            figures = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
            print(f"step {state.global_step}/{state.max_steps}, {time.monotonic() - self.began:.0f} s: {figures}", flush=True)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # At the end of an epoch an evaluation follows. Save after it: a run resumed in between would not do it again.
            ends = control.should_training_stop or state.epoch == int(state.epoch)
            if args.eval_strategy == "epoch" and control.should_save and ends:
                self.put_off, control.should_save = True, False

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.put_off:
                self.put_off, control.should_save = False, True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            place = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            if place.is_dir():
                (place / COMPLETE).touch()

    return Recorder()

"""Saves checkpoints, and models that plain transformers can load.

A checkpoint is complete once it contains the file `complete`, which is written last. Checkpoints without it (the writer was
killed) are removed. Models are moved into place atomically: `model/`, and `best/` with its validation metrics.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepcritic.errors import InputError
from deepcritic.hub.models import ADAPTER_FILES, find_model, load_model
from deepcritic.runs.folder import COMPLETE
from deepcritic.runs.jsonl import write_json
from deepcritic.training.processes import leads

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOG = logging.getLogger(__name__)

MODEL, BEST, ADAPTER = "model", "best", "adapter"
FACTS = "validation.json"
_SHAPE = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; half-written ones (their writer was killed) are removed."""
    best: tuple[int, Path] | None = None
    for place in folder.glob("checkpoint-*"):
        if not (place / COMPLETE).is_file():
            if leads():
                LOG.warning(f"{place}: removed an incomplete checkpoint")
                shutil.rmtree(place)
            continue
        step = int(place.name.rpartition("-")[2])
        if best is None or step > best[0]:
            best = (step, place)
    return str(best[1]) if best else None


def check_checkpoint(checkpoint: Path, model: Any) -> None:
    """Raises `InputError` if a checkpoint does not fit `model`: other architecture or size, or an adapter."""
    expected = "the checkpoint's model and trainer=, or overwrite=true to start over"
    of_adapter = (checkpoint / ADAPTER_FILES[0]).is_file()
    if of_adapter != hasattr(model, "peft_config"):
        kind = "an adapter, but all weights are trained" if of_adapter else "a full model, but an adapter is trained"
        raise InputError(f"the checkpoint is of {kind}", file=checkpoint, expected=expected)
    if of_adapter:
        saved = json.loads((checkpoint / ADAPTER_FILES[0]).read_text("utf-8"))
        rank = model.peft_config["default"].r
        if saved.get("r") != rank:
            raise InputError(
                "the checkpoint's adapter has another rank", file=checkpoint, found=saved.get("r"), expected=str(rank)
            )
        return
    saved = json.loads((checkpoint / "config.json").read_text("utf-8"))
    for name in _SHAPE:
        ours = getattr(model.config, name, None)
        if name in saved and saved[name] != ours:
            raise InputError(
                "the checkpoint has another architecture", file=checkpoint, field=name, found=saved[name], expected=str(ours)
            )


def save_model(trainer: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, base: str | None = None) -> Path:
    """Save the model and its tokenizer to `folder/model` atomically. Checkpoints are kept until the manifest is written.

    `base` is the starting model. If training computed in bfloat16, the weights are saved in the dtype of its files. An adapter
    is merged into it, and also saved to `folder/adapter`.
    """
    write_model(trainer, tokenizer, folder, MODEL, base)
    return folder / MODEL


def write_model(
    trainer: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    name: str,
    base: str | None,
    facts: dict[str, Any] | None = None,
) -> None:
    """Save the current weights and `facts` to `folder/name` atomically. All processes must call it."""
    temporary, final = folder / f".{name}", folder / name
    if leads():
        shutil.rmtree(temporary, ignore_errors=True)
    _gathered(trainer, temporary)
    if leads():
        if (temporary / ADAPTER_FILES[0]).is_file():
            _merge(temporary, folder / (ADAPTER if name == MODEL else f"{name}.{ADAPTER}"), trainer, base)
        elif base is not None and trainer.args.bf16:
            _as_in(base, temporary)
        tokenizer.save_pretrained(str(temporary))
        (temporary / "training_args.bin").unlink(missing_ok=True)  # a pickle that loading does not need
        if facts is not None:
            write_json(temporary / FACTS, facts)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    trainer.accelerator.wait_for_everyone()


def keep_best(
    trainer: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, facts: dict[str, Any], base: str | None = None
) -> None:
    """Save the current weights and `facts` to `folder/best` atomically."""
    write_model(trainer, tokenizer, folder, BEST, base, facts)


def best_of(folder: Path) -> dict[str, Any]:
    """The `step` and metrics of the weights in `folder/best`; empty if there are none."""
    try:
        facts: dict[str, Any] = json.loads((folder / BEST / FACTS).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return facts


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished stage. An unfinished stage needs them to resume."""
    for place in folder.glob("checkpoint-*") if leads() else ():
        shutil.rmtree(place)


def _gathered(trainer: Any, place: Path) -> None:
    """Save the trainer's weights; weights sharded over processes are gathered first."""
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if plugin is None:
        trainer.save_model(str(place))
        return
    kind = plugin.state_dict_type
    plugin.set_state_dict_type("FULL_STATE_DICT")
    try:
        trainer.save_model(str(place))
    finally:
        plugin.set_state_dict_type(kind)


def _merge(temporary: Path, adapter: Path, trainer: Any, base: str | None) -> None:
    """Move the adapter aside, and replace it with the merged model."""
    from peft import PeftModel

    shutil.rmtree(adapter, ignore_errors=True)
    temporary.rename(adapter)
    (adapter / "training_args.bin").unlink(missing_ok=True)
    origin = base or trainer.model.peft_config["default"].base_model_name_or_path
    whole = PeftModel.from_pretrained(load_model(origin, dtype="float32", device="cpu"), str(adapter)).merge_and_unload()
    whole.save_pretrained(str(temporary))
    if trainer.args.bf16:
        _as_in(origin, temporary)


def _as_in(base: str, folder: Path) -> None:
    """Convert the weights to the dtype of `base`'s files, if it differs."""
    from transformers import AutoConfig, AutoModelForCausalLM

    path, revision = find_model(base)
    wanted = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False).dtype
    saved = AutoConfig.from_pretrained(str(folder), trust_remote_code=False).dtype
    if wanted is None or saved == wanted:
        return
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=wanted, use_safetensors=True, trust_remote_code=False)
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    model.save_pretrained(str(folder))

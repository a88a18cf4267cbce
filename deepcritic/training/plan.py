"""What a training will take, worked out from the model's configuration: no weights are loaded.

    plan = Plan.of(model, settings, lengths=[2_310, 1_780, 3_012], reads=3.0, steps=210, rows=1)
    print(plan)                  # dry_run=true
    plan.check_memory()          # what cannot fit is said before the first step

Sources. Parameters: the model built without memory (torch's meta device). Arithmetic of a token: 6 a parameter, and
6 layers x width x length for causal attention (Chowdhery et al. 2022, arXiv 2204.02311, appendix B, half of it as tokens
after a token are not looked at); an adapter needs no gradients of the weights below it, which leaves 4. Activations: Korthikanti
et al. 2022, arXiv 2205.05198, without what a flash kernel does not keep: 34 bytes a token, layer and unit of width; with
gradient checkpointing 2, and 34 for the one layer that is computed anew. It is the roughest of these figures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepcritic.errors import InputError
from deepcritic.hub.models import find_model
from deepcritic.training.processes import world_size
from deepcritic.training.settings import TrainerSettings

GIB = 1 << 30
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_FOUR_BITS = 0.5
_ADAM = 2
"""Adam keeps two numbers for each that is trained, of the same kind."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model in numbers: its parameters, and those that an adapter would have."""

    parameters: int
    adapter: int
    layers: int
    width: int
    vocabulary: int

    @classmethod
    def of(cls, model: str, settings: TrainerSettings) -> Shape:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        path, revision = find_model(model)
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
        with torch.device("meta"):
            built = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        head = built.get_output_embeddings()
        adapted = (
            module.in_features + module.out_features
            for module in built.modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        )
        return cls(
            parameters=sum(part.numel() for part in built.parameters()),
            adapter=(settings.lora_rank or 0) * sum(adapted),
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            vocabulary=config.vocab_size,
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`tokens` are all that a training reads in all its steps; rows have `mean` tokens, the longest `longest`, and a device reads
    `rows` of them together."""

    shape: Shape
    settings: TrainerSettings
    tokens: int
    steps: int
    mean: float
    longest: int
    rows: int
    devices: int

    @classmethod
    def of(cls, model: str, settings: TrainerSettings, *, lengths: Sequence[int], reads: float, steps: int, rows: int) -> Plan:
        """For rows of these lengths (tokens), each of which is read `reads` times in `steps` steps, `rows` together."""
        return cls(
            shape=Shape.of(model, settings), settings=settings, tokens=round(sum(lengths) * reads), steps=steps,
            mean=sum(lengths) / len(lengths), longest=max(lengths), rows=rows, devices=settings.devices or world_size(),
        )  # fmt: skip

    @property
    def trained(self) -> int:
        """How many parameters are trained."""
        return self.shape.adapter or self.shape.parameters

    @property
    def memory(self) -> dict[str, float]:
        """Bytes by part, over all devices but for the activations, which are those of one."""
        weight = _FOUR_BITS if self.settings.quantised else _BYTES.get(self.settings.weights_dtype, 4.0)
        below, number = weight * self.shape.parameters, _BYTES["float32"]
        return {
            "weights": below + number * self.shape.adapter,
            "gradients": (number if self.shape.adapter else weight) * self.trained,
            "optimizer": (number if self.shape.adapter else weight) * self.trained * _ADAM,
            "activations": self._activations(),
        }

    def _activations(self) -> float:
        each = self.longest * self.rows * self.shape.width
        kept = 2 * self.shape.layers + 34 if self.settings.checkpoints_activations else 34 * self.shape.layers
        return float(each * kept)

    @property
    def operations(self) -> float:
        """Floating-point operations of all steps, those that are done twice (checkpointing) counted once."""
        dense = (4 if self.shape.adapter else 6) * self.shape.parameters
        attention = 6 * self.shape.layers * self.shape.width * self.mean
        return float(self.tokens) * (dense + attention)

    @property
    def hours(self) -> float:
        rate = self.devices * self.settings.tflops * 1e12 * self.settings.mfu
        return self.operations / rate / 3600

    def check_memory(self) -> None:
        """Raises `InputError` where weights, gradients and optimizer alone are more than this device has (or these have)."""
        room, where = _room()
        memory = self.memory
        kept = sum(memory[part] for part in ("weights", "gradients", "optimizer")) / (world_size() if _shared() else 1)
        if kept > room:
            raise InputError(
                f"training needs {kept / GIB:.1f} GiB for weights, gradients and optimizer, and {where} has {room / GIB:.1f}",
                field="model", remedy="take a smaller model, trainer=lora, or more devices with conf/accelerate/fsdp2.yaml",
            )  # fmt: skip

    def __str__(self) -> str:
        """
        >>> shape = Shape(parameters=7_600_000_000, adapter=0, layers=28, width=3584, vocabulary=152_064)
        >>> print(Plan(shape=shape, settings=TrainerSettings(gradient_checkpointing=True), tokens=27_000_000, steps=210,
        ...            mean=2000, longest=4096, rows=1, devices=8))
        parameters: 7,600,000,000, all of them trained
        memory: weights 28.3 GiB, gradients 28.3 GiB, optimizer 56.6 GiB; activations about 1.2 GiB a device
        memory of each of 8 devices: 114.5 GiB, or 15.4 GiB where they share weights, gradients and optimizer (FSDP2, ZeRO-3)
        27,000,000 tokens in 210 steps; about 0.11 hours on 8 devices of 989 TFLOP/s at an MFU of 0.4
        """
        memory = {part: size / GIB for part, size in self.memory.items()}
        kept = memory["weights"] + memory["gradients"] + memory["optimizer"]
        trained = f"{self.shape.adapter:,} of an adapter trained" if self.shape.adapter else "all of them trained"
        one, each = kept + memory["activations"], kept / self.devices + memory["activations"]
        total = f"memory in all: {one:.3g} GiB"
        if self.devices > 1:
            total = (
                f"memory of each of {self.devices} devices: {one:.1f} GiB, or {each:.1f} GiB where they share weights, gradients "
                "and optimizer (FSDP2, ZeRO-3)"
            )
        return "\n".join((
            f"parameters: {self.shape.parameters:,}, {trained}",
            f"memory: weights {memory['weights']:.3g} GiB, gradients {memory['gradients']:.3g} GiB, "
            f"optimizer {memory['optimizer']:.3g} GiB; activations about {memory['activations']:.2g} GiB a device",
            total,
            f"{self.tokens:,} tokens in {self.steps:,} steps; about {self.hours:.2g} hours on {self.devices} "
            f"device{'s' if self.devices > 1 else ''} of {self.settings.tflops:g} TFLOP/s at an MFU of {self.settings.mfu:g}",
        ))  # fmt: skip


def _shared() -> bool:
    """Whether `accelerate launch` was asked to share the weights among devices."""
    return any(os.environ.get(name) == "true" for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"))


def _room() -> tuple[float, str]:
    import torch

    if torch.cuda.is_available():
        properties: Any = torch.cuda.get_device_properties(torch.cuda.current_device())
        return float(properties.total_memory), str(properties.name)
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")), "this machine"

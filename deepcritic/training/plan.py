"""Estimates memory and time of a training from the model's configuration, without loading weights.

    plan = Plan.of(model, settings, lengths=[2_310, 1_780, 3_012], reads=3.0, steps=210, rows=1)
    print(plan.on_gpus())        # dry_run=true
    plan.check_memory()          # fails early if it cannot fit

Sources. Parameters: the model on torch's meta device. FLOPs per token: 6 per parameter, plus 6 layers x width x length for
causal attention (Chowdhery et al. 2022, arXiv 2204.02311, appendix B, halved because tokens attend only to earlier ones). An
adapter needs no gradients of the base weights, so 4 per parameter; a forward pass costs a third of 6. Activations: what autograd
saves per layer of Llama or Qwen2 in torch 2, counted with `saved_tensors_hooks`: per token 8 numbers per unit of width, 4 per
MLP unit, 2 per key unit; in bfloat16 the norms add 6 bytes per unit of width. With gradient checkpointing: the input of each
layer, and one recomputed layer. Logits: TRL's fused head computes them in tiles of `_TILE`, and sums gradients in float32.
Generation: each token reads the weights, shared by the rows of a batch, and the keys and values of its row (Pope et al. 2022,
arXiv 2211.05102, section 3.1), with an H100's ratio of memory bandwidth to arithmetic. `scripts/bench memory` compares the plan
with measured memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from deepcritic.errors import InputError
from deepcritic.hub.models import find_model
from deepcritic.training.processes import world_size
from deepcritic.training.settings import TrainerSettings, on_gpu

GIB = 1 << 30
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_FOUR_BITS = 0.5
_ADAM = 2
"""Adam keeps two numbers per trained parameter, in its dtype."""
_TILE = (4096, 32_768)
"""The most tokens and vocabulary entries of the fused head's tile (`trl.kernels.chunked_logprob`, TRL 1.16)."""
_TILES_ON_CPU = 9
"""Without Triton the tile's gradient is computed in torch, with so many float32 arrays of its size at once."""
_OPERATIONS_A_BYTE = 295
"""bfloat16 operations per byte of memory read: 989 TFLOP/s and 3.35 TB/s of an H100 SXM."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a model. `adapter`: parameters of an adapter; `inner`: width of the MLP; `keys`: width of the keys of all heads;
    `vocabulary`: rows of the output head."""

    parameters: int
    adapter: int
    layers: int
    width: int
    inner: int
    keys: int
    vocabulary: int

    @classmethod
    def of(cls, model: str, settings: TrainerSettings) -> Self:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        path, revision = find_model(model)
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False).get_text_config()
        with torch.device("meta"):
            built = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        head = built.get_output_embeddings()
        adapted = (
            module.in_features + module.out_features
            for module in built.modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        )
        heads = config.num_attention_heads
        head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(
            parameters=sum(part.numel() for part in built.parameters()),
            adapter=(settings.lora_rank or 0) * sum(adapted),
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            inner=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
            keys=(getattr(config, "num_key_value_heads", None) or heads) * head_width,
            vocabulary=config.vocab_size,
        )


class Drawing(NamedTuple):
    """The generation of RL: `tokens` of replies in total, `rows` at once per device, whether an engine keeps its own weights
    there, and the extra forward passes per reply (for the reference model, and for vLLM's importance weights)."""

    tokens: int
    rows: int
    engine: bool = False
    passes: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`tokens` is the total over all steps; rows have `mean` tokens, the longest `longest`, and a device reads `rows` at once.
    `gpu`: whether the devices are GPUs, which decides what settings of None mean."""

    shape: Shape
    settings: TrainerSettings
    tokens: int
    steps: int
    mean: float
    longest: int
    rows: int
    devices: int
    gpu: bool = True
    drawing: Drawing | None = None

    @classmethod
    def of(
        cls,
        model: str,
        settings: TrainerSettings,
        *,
        lengths: Sequence[int],
        reads: float,
        steps: int,
        rows: int,
        drawing: Drawing | None = None,
    ) -> Self:
        """For rows of these lengths (tokens), each read `reads` times in `steps` steps, `rows` at once, on this kind of
        machine."""
        return cls(
            shape=Shape.of(model, settings), settings=settings, tokens=round(sum(lengths) * reads), steps=steps,
            mean=sum(lengths) / len(lengths), longest=max(lengths), rows=rows, devices=settings.devices or world_size(),
            gpu=on_gpu(), drawing=drawing,
        )  # fmt: skip

    def on_gpus(self) -> Self:
        """The same training on GPUs, whatever this machine has."""
        return replace(self, gpu=True)

    @property
    def trained(self) -> int:
        """Number of trained parameters."""
        return self.shape.adapter or self.shape.parameters

    @property
    def memory(self) -> dict[str, float]:
        """Bytes by part, over all devices; activations and generation's keys and values are per device, and not in memory at
        the same time."""
        weight = _FOUR_BITS if self.settings.quantised else _BYTES.get(self.settings.weights_dtype_on(self.gpu), 4.0)
        below, number = weight * self.shape.parameters, _BYTES["float32"]
        return {
            "weights": below + number * self.shape.adapter,
            "gradients": (number if self.shape.adapter else weight) * self.trained,
            "optimizer": (number if self.shape.adapter else weight) * self.trained * _ADAM,
            "activations": self._activations(),
            "drawing": self._drawn() if self.drawing else 0.0,
        }

    @property
    def kept(self) -> float:
        """Bytes kept between steps: weights, gradients and optimizer."""
        memory = self.memory
        return memory["weights"] + memory["gradients"] + memory["optimizer"]

    @property
    def passing(self) -> float:
        """Temporary bytes per device: the larger of activations and generation."""
        memory = self.memory
        engine = self.drawing is not None and self.drawing.engine
        return memory["activations"] + memory["drawing"] if engine else max(memory["activations"], memory["drawing"])

    @property
    def _number(self) -> float:
        """Bytes per number when computing: bfloat16 on a GPU, whatever the weights' dtype."""
        return 2.0 if self.gpu else _BYTES.get(self.settings.weights_dtype_on(False), 4.0)

    def _activations(self) -> float:
        shape, number = self.shape, self._number
        layer = number * (8 * shape.width + 4 * shape.inner + 2 * shape.keys) + (6 * shape.width if number < 4 else 0)
        tokens, head = self.longest * self.rows, self._head()
        if not self.settings.checkpoints_on(self.gpu):
            return float(tokens * layer * shape.layers + head)
        return float(tokens * number * shape.width * shape.layers + max(tokens * layer, head))

    def _head(self) -> float:
        """Bytes of the fused head in the backward pass: a tile, and the gradients, which it sums in float32."""
        shape, tokens, full = self.shape, self.longest * self.rows, _BYTES["float32"]
        tile = min(tokens, _TILE[0]) * min(shape.vocabulary, _TILE[1])
        gradients = full * shape.width * (tokens + (0 if shape.adapter else shape.vocabulary))
        return tile * (self._number if self.gpu else full * _TILES_ON_CPU) + gradients

    def _drawn(self) -> float:
        assert self.drawing is not None
        cache = self.drawing.rows * self.longest * self._cached
        return cache + (self._number * self.shape.parameters if self.drawing.engine else 0.0)

    @property
    def _cached(self) -> float:
        """Bytes of keys and values per token."""
        return 2 * self.shape.layers * self.shape.keys * self._number

    @property
    def operations(self) -> float:
        """Floating-point operations of all steps, without generation and recomputation (checkpointing)."""
        attention = 6 * self.shape.layers * self.shape.width * self.mean
        passes = self.drawing.passes if self.drawing else 0
        dense = (4 if self.shape.adapter else 6) * self.shape.parameters
        return float(self.tokens) * (dense + attention + passes * (2 * self.shape.parameters + attention / 3))

    @property
    def hours(self) -> float:
        """Total hours: steps and generation."""
        return self.operations / self._rate / 3600 + self.drawing_hours

    @property
    def drawing_hours(self) -> float:
        if self.drawing is None:
            return 0.0
        rows = self.drawing.rows
        read = self._number * self.shape.parameters + rows * self.mean * self._cached
        return self.drawing.tokens / rows * read * _OPERATIONS_A_BYTE / self._rate / 3600

    @property
    def _rate(self) -> float:
        return self.devices * self.settings.tflops * 1e12 * self.settings.mfu

    def check_memory(self) -> None:
        """Raises `InputError` if weights, gradients and optimizer alone exceed the memory of the devices."""
        room, where = _room()
        kept = self.kept / (world_size() if _shared() else 1)
        if kept > room:
            raise InputError(
                f"training needs {kept / GIB:.1f} GiB for weights, gradients and optimizer, and {where} has {room / GIB:.1f}",
                field="model", remedy="use a smaller model, trainer=lora, or more devices with conf/accelerate/fsdp2.yaml",
            )  # fmt: skip

    def __str__(self) -> str:
        """
        >>> shape = Shape(parameters=7_615_616_512, adapter=40_370_176, layers=28, width=3584, inner=18_944, keys=512,
        ...               vocabulary=152_064)
        >>> print(Plan(shape=shape, settings=TrainerSettings(lora_rank=16), tokens=27_000_000, steps=210, mean=2000, longest=4096,
        ...            rows=1, devices=1))
        parameters: 7,615,616,512; trained: 40,370,176 (adapter)
        memory: weights 14.3 GiB, gradients 0.15 GiB, optimizer 0.301 GiB; activations about 1.7 GiB per GPU
        memory of the GPU: 16.4 GiB
        27,000,000 tokens in 210 steps; about 0.6 hours on 1 GPU of 989 TFLOP/s at an MFU of 0.4
        """
        memory = {part: size / GIB for part, size in self.memory.items()}
        kept, passing = self.kept / GIB, self.passing / GIB
        trained = f"{self.shape.adapter:,} (adapter)" if self.shape.adapter else "all"
        kind = "GPU" if self.gpu else "process"
        total = f"memory of the {kind}: {kept + passing:.3g} GiB"
        if self.devices > 1:
            total = (
                f"memory per {kind} ({self.devices} {_several(kind)}): {kept + passing:.1f} GiB, or "
                f"{kept / self.devices + passing:.1f} GiB if weights, gradients and optimizer are sharded (FSDP2, ZeRO-3)"
            )
        of = f"{self.devices} {kind if self.devices == 1 else _several(kind)} of {self.settings.tflops:g} TFLOP/s"
        lines = [
            f"parameters: {self.shape.parameters:,}; trained: {trained}",
            f"memory: weights {memory['weights']:.3g} GiB, gradients {memory['gradients']:.3g} GiB, "
            f"optimizer {memory['optimizer']:.3g} GiB; activations about {memory['activations']:.2g} GiB per {kind}",
            total,
            f"{self.tokens:,} tokens in {self.steps:,} steps; about {self.hours:.2g} hours on {of} at an MFU of "
            f"{self.settings.mfu:g}",
        ]
        if self.drawing is not None:
            own = "weights of vLLM and " if self.drawing.engine else ""
            lines.insert(2, f"sampling: {own}KV cache of {self.drawing.rows} replies, {memory['drawing']:.3g} GiB per {kind}")
            lines.append(f"including {self.drawing_hours:.2g} hours to sample {self.drawing.tokens:,} tokens")
        return "\n".join(lines)

    def dry_run(self) -> str:
        """The plan for GPUs; without a GPU here, also the memory needed on this machine."""
        here = (
            ""
            if self.gpu
            else f"\nthis machine has no GPU; on its CPU, training needs {(self.kept + self.passing) / GIB:.3g} GiB"
        )
        return f"{self.on_gpus()}{here}"


def _several(kind: str) -> str:
    return "GPUs" if kind == "GPU" else "processes"


def _shared() -> bool:
    """Whether `accelerate launch` shards the weights over devices."""
    return any(os.environ.get(name) == "true" for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"))


def _room() -> tuple[float, str]:
    import torch

    if torch.cuda.is_available():
        properties: Any = torch.cuda.get_device_properties(torch.cuda.current_device())
        return float(properties.total_memory), str(properties.name)
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")), "this machine"

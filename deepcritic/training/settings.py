"""Settings shared by all trainings: LoRA, dtypes, kernels. The option group `trainer=`.

    settings = TrainerSettings(lora_rank=16)
    arguments = settings.arguments()                 # keywords that TRL's SFTConfig and GRPOConfig share
    settings.check("org/name")                       # fails before weights are loaded
    weights = settings.load("org/name", seed=0)
    SFTTrainer(model=weights, peft_config=settings.adapter(), args=SFTConfig(**arguments, ...), ...)

Sharding over devices is configured by `accelerate launch --config_file conf/accelerate/fsdp2.yaml`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deepcritic.errors import UsageError
from deepcritic.extras import require_for_stages
from deepcritic.hub.models import check_causal, load_model
from deepcritic.training.processes import world_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEEPS_APART = ("flash_attention_2", "flash_attention_3", "flex_attention", "sdpa", "eager")
"""Attention implementations of transformers that support packed rows: the first two with sequence boundaries, the others with
a mask from the position ids."""

TRACKERS = ("tensorboard", "trackio", "wandb")


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """None selects the default of the machine. On a GPU: gradient checkpointing, Liger kernels and FlashAttention if installed,
    the latter with dialogues packed instead of padded. On a CPU: none of these.

    `lora_rank` trains an adapter (LoRA, Hu et al. 2021, arXiv 2106.09685); `quantised` loads its base weights in 4 bits
    (QLoRA, Dettmers et al. 2023, arXiv 2305.14314). `dtype` is the dtype of the weights in memory. Default: float32 for full
    training (bfloat16 would round away steps of 1e-6), computing in bfloat16 on a GPU; bfloat16 below an adapter.
    `template_args` are variables of the chat template, which the trained model's tokenizer keeps.
    `mfu`, `tflops` (of one device, in bfloat16) and `devices` (default: those of this start) are used only by `dry_run=true`.
    """

    lora_rank: int | None = None
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_modules: str = "all-linear"
    quantised: bool = False
    dtype: str | None = None
    attention: str | None = None
    packing: bool | None = None
    gradient_checkpointing: bool | None = None
    liger: bool | None = None
    report_to: list[str] = field(default_factory=list)
    template_args: dict[str, Any] = field(default_factory=dict)
    mfu: float = 0.4
    tflops: float = 989.0
    devices: int | None = None

    def __post_init__(self) -> None:
        for name, fits, right in (
            ("lora_rank", self.lora_rank is None or self.lora_rank >= 1, "a whole number from 1, or null"),
            ("mfu", 0 < self.mfu <= 1, "a share above 0, up to 1"),
            ("tflops", self.tflops > 0, "a number above 0"),
            ("devices", self.devices is None or self.devices >= 1, "a whole number from 1, or null"),
        ):
            if not fits:
                raise UsageError(f"trainer.{name}: out of range; found {getattr(self, name)!r}; expected {right}")
        if self.quantised and self.lora_rank is None:
            raise UsageError(
                "trainer.quantised: 4-bit weights cannot be trained directly; set trainer.lora_rank or trainer=qlora"
            )
        if self.packing and (self.attention or KEEPS_APART[0]) not in KEEPS_APART:
            raise UsageError(
                f"trainer.packing: attention={self.attention} may attend across packed dialogues; "
                f"expected {', '.join(KEEPS_APART)}, or trainer.packing=false"
            )

    def check(self, model: str) -> None:
        """Raises an error for a missing package, or a model that cannot become a critic."""
        require_for_stages("sft")
        for wanted, package, instead in (
            (self.lora_rank is not None, "peft", "trainer=full"),
            (self.quantised, "bitsandbytes", "trainer=lora"),
            (bool(self.liger), "liger_kernel", "trainer.liger=false"),
            (self.attention == "flash_attention_2", "flash_attn", "trainer.attention=sdpa"),
        ):
            if wanted and importlib.util.find_spec(package) is None:
                name = package.replace("_", "-")
                raise UsageError(f"{name} is not installed: pip install {name}, or set {instead}")
        for tracker in self.report_to:
            if tracker not in TRACKERS or importlib.util.find_spec(tracker) is None:
                known = tracker in TRACKERS
                advice = f"pip install {tracker}, or remove it" if known else f"expected some of {', '.join(TRACKERS)}"
                raise UsageError(f"trainer.report_to: {tracker} is not {'installed' if known else 'known'}; {advice}")
        check_causal(model)

    @property
    def kernel(self) -> str | None:
        """The attention implementation; None: transformers decides."""
        if self.attention is None and on_gpu() and importlib.util.find_spec("flash_attn") is not None:
            return "flash_attention_2"
        return self.attention

    @property
    def padding_free(self) -> bool:
        """Whether dialogues are packed into one row, with separate attention, instead of padded to the longest."""
        if self.packing is None:
            return (self.kernel or "").startswith("flash_attention")
        return self.packing

    def checkpoints_on(self, gpu: bool) -> bool:
        """Whether activations are recomputed in the backward pass (gradient checkpointing), on a GPU or on a CPU."""
        return gpu if self.gradient_checkpointing is None else self.gradient_checkpointing

    @property
    def weights_dtype(self) -> str:
        """The dtype of the weights on this machine."""
        return self.weights_dtype_on(on_gpu())

    def weights_dtype_on(self, gpu: bool) -> str:
        """The dtype of the weights, on a GPU or on a CPU."""
        return self.dtype or ("bfloat16" if gpu and self.lora_rank is not None else "float32")

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for the configurations of TRL's trainers."""
        liger = on_gpu() and importlib.util.find_spec("liger_kernel") is not None if self.liger is None else self.liger
        return {
            "bf16": on_gpu(),
            "use_cpu": not on_gpu(),
            "gradient_checkpointing": self.checkpoints_on(on_gpu()),
            "use_liger_kernel": liger,
            "report_to": list(self.report_to),
            "logging_nan_inf_filter": False,
            "ddp_find_unused_parameters": False,
        }

    def load(self, model: str, seed: int) -> PreTrainedModel:
        """Load the weights to train. Create the trainer's configuration first: it decides how they are sharded."""
        from transformers import set_seed

        set_seed(seed)  # an adapter starts with random weights
        more: dict[str, Any] = {"attn_implementation": self.kernel} if self.kernel else {}
        if self.quantised:
            from transformers import BitsAndBytesConfig

            more["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype="bfloat16"
            )
        place = "cpu" if world_size() > 1 or self.quantised else "auto"  # with several processes, each places its own
        return load_model(model, dtype=self.weights_dtype, device=place, **more)

    def adapter(self) -> Any:
        """The adapter's configuration; None if all weights are trained."""
        if self.lora_rank is None:
            return None
        from peft import LoraConfig

        return LoraConfig(
            r=self.lora_rank, lora_alpha=self.lora_alpha, lora_dropout=self.lora_dropout, target_modules=self.lora_modules,
            task_type="CAUSAL_LM",
        )  # fmt: skip


def on_gpu() -> bool:
    """Whether this process trains on a GPU."""
    import torch

    return bool(torch.cuda.is_available())


def accumulation(batch_size: int, device_batch_size: int, what: str = "batch_size") -> int:
    """Gradient accumulation steps: batches of `device_batch_size` rows per device, for `batch_size` rows per step in total.

    Raises `UsageError` if the result is not an integer.

    >>> accumulation(64, 4)
    16
    """
    devices = world_size()
    together = device_batch_size * devices
    if min(batch_size, device_batch_size) < 1 or batch_size % together:
        shared = f"stage.device_batch_size={device_batch_size}" + (f" on {devices} devices" if devices > 1 else "")
        raise UsageError(f"stage.{what}={batch_size} is not a multiple of {shared}")
    return batch_size // together

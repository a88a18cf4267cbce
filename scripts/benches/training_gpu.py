"""Training at 7B on a GPU: tokens a second, MFU and peak memory of SFT, and one GRPO step with transformers generation.

    python scripts/benches/training_gpu.py          # needs only torch, transformers and trl, and no network (LoRA: peft too)

The model is Qwen2.5-7B with random weights, built from its configuration, with gradient checkpointing. Full training uses float32
weights and bfloat16 arithmetic; the base of an adapter is bfloat16. Rows are 4,096 random token ids, all in the loss.
Writes `data/bench/training_gpu.json` with the machine's name. Without a GPU it prints a message and writes nothing.
`--tiny` runs the same code on a CPU with a small model, and writes nothing.

MFU: 6 operations a parameter and token (4 with an adapter), and 6 x layers x width x length for causal attention (Chowdhery et
al. 2022, arXiv 2204.02311, appendix B), over the dense bfloat16 peak in the table below, by NVIDIA's data sheets.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

QWEN_7B = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "vocab_size": 152064, "max_position_embeddings": 32768, "rope_theta": 1e6, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
}  # fmt: skip
TINY = {
    **QWEN_7B, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512,
}  # fmt: skip
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}
FILE = Path(__file__).resolve().parents[2] / "data" / "bench" / "training_gpu.json"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tiny", action="store_true", help="a small model on a processor, which writes nothing")
    given = options.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false")
    import torch

    if not given.tiny and not torch.cuda.is_available():
        print("there is no GPU here: nothing is measured, and nothing written")
        return
    length, shape = (64, TINY) if given.tiny else (4096, QWEN_7B)
    found = [sft(shape, length, lora=lora, tiny=given.tiny) for lora in (False, True)]
    found.append(grpo(shape, tiny=given.tiny))
    for one in found:
        print(json.dumps(one))
    if given.tiny:
        print("a small model on a processor: nothing is written")
        return
    content = {
        "bench": "training_gpu",
        "machine": machine(),
        "model": "Qwen2.5-7B, random weights",
        "length": length,
        "runs": found,
    }
    FILE.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print(f"written: {FILE}")


def machine() -> dict[str, Any]:
    import torch
    import transformers
    import trl

    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name, "gpus_used": 1, "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda, "torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__,
        "python": platform.python_version(), "attention": attention(),
    }  # fmt: skip


def attention() -> str:
    return "flash_attention_2" if importlib.util.find_spec("flash_attn") else "sdpa"


def build(shape: dict[str, Any], *, half: bool, tiny: bool) -> Any:
    """The model with random weights, on its device."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    with torch.device("cpu" if tiny else "cuda"):
        dtype = torch.bfloat16 if half else torch.float32
        return AutoModelForCausalLM.from_config(
            Qwen2Config(**shape), dtype=dtype, attn_implementation="sdpa" if tiny else attention()
        )


def tokenizer() -> Any:
    """A byte tokenizer with a chat template, built here because there is no network."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = Tokenizer(models.BPE(vocab={name: at for at, name in enumerate([*names, *letters])}, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(names)
    whole = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    whole.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    return whole


def common(place: str, tiny: bool) -> dict[str, Any]:
    return {
        "output_dir": place, "report_to": [], "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True, "use_cpu": tiny,
        "bf16": not tiny, "gradient_checkpointing": not tiny, "seed": 0,
    }  # fmt: skip


def adapter(lora: bool) -> Any:
    if not lora:
        return None
    from peft import LoraConfig

    return LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def sft(shape: dict[str, Any], length: int, *, lora: bool, tiny: bool, steps: int = 8, warm: int = 3) -> dict[str, Any]:
    """Train steps of one row of `length` tokens; the first few are not measured."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    name = "SFT, " + ("LoRA of rank 16" if lora else "all weights")
    if lora and importlib.util.find_spec("peft") is None:
        return {"what": name, "left_out": "peft is not installed"}
    draw = torch.Generator().manual_seed(0)
    rows = [{"input_ids": torch.randint(3, 200, (length,), generator=draw).tolist()} for _ in range(steps)]
    rows = [{**one, "completion_mask": [1] * length} for one in rows]
    marks: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            wait(tiny)
            marks.append(time.monotonic())

    clear(tiny)
    try:
        with tempfile.TemporaryDirectory() as place:
            trainer = SFTTrainer(
                model=build(shape, half=lora and not tiny, tiny=tiny), processing_class=tokenizer(), peft_config=adapter(lora),
                args=SFTConfig(**common(place, tiny), max_steps=steps, per_device_train_batch_size=1, max_length=length),
                train_dataset=Dataset.from_list(rows), callbacks=[Clock()],
            )  # fmt: skip
            parameters = sum(part.numel() for part in trainer.model.parameters())
            trainer.train()
    except torch.OutOfMemoryError as error:
        return {"what": name, "out_of_memory": str(error).partition(".")[0]}
    rate = (steps - warm) * length / (marks[-1] - marks[warm - 1])
    operations = (4 if lora else 6) * parameters + 6 * shape["num_hidden_layers"] * shape["hidden_size"] * length
    return {
        "what": name,
        "tokens_per_second": round(rate, 1),
        **use(rate * operations, tiny),
        "steps": steps,
        "steps_left_out": warm,
    }


def grpo(shape: dict[str, Any], *, tiny: bool) -> dict[str, Any]:
    """Two steps of 4 prompts with 8 replies each; the second is measured. Generation is by transformers."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    name, replies, tokens = "GRPO, LoRA of rank 16, one step with transformers generation", 32, 16 if tiny else 512
    if importlib.util.find_spec("peft") is None:
        return {"what": name, "left_out": "peft is not installed"}
    marks: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            wait(tiny)
            marks.append(time.monotonic())

    def judged(completions: list[Any], **_: Any) -> list[float]:
        return [float(at % 2) for at in range(len(completions))]

    clear(tiny)
    prompts = [{"prompt": [{"role": "user", "content": f"Is {at} + 1 = {at + 1}? " * 20}]} for at in range(8)]
    try:
        with tempfile.TemporaryDirectory() as place:
            trainer = GRPOTrainer(
                model=build(shape, half=not tiny, tiny=tiny), processing_class=tokenizer(), reward_funcs=judged,
                peft_config=adapter(True), callbacks=[Clock()], train_dataset=Dataset.from_list(prompts),
                args=GRPOConfig(
                    **common(place, tiny), max_steps=2, num_generations=8, per_device_train_batch_size=4,
                    gradient_accumulation_steps=replies // 4, max_completion_length=tokens, temperature=1.0,
                ),
            )  # fmt: skip
            trainer.train()
    except torch.OutOfMemoryError as error:
        return {"what": name, "out_of_memory": str(error).partition(".")[0]}
    seconds = marks[1] - marks[0]
    return {"what": name, "seconds": round(seconds, 3), "replies": replies, "most_tokens": tokens, **use(None, tiny)}


def wait(tiny: bool) -> None:
    import torch

    if not tiny:
        torch.cuda.synchronize()


def clear(tiny: bool) -> None:
    import torch

    gc.collect()
    if not tiny:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def use(rate: float | None, tiny: bool) -> dict[str, Any]:
    """Peak memory, and the MFU of `rate` operations a second; neither on a CPU."""
    import torch

    if tiny:
        return {}
    found: dict[str, Any] = {"peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}
    gpu = torch.cuda.get_device_properties(0).name
    peak = next((value for part, value in PEAKS.items() if part in gpu), None)
    if rate is not None:
        found["mfu"] = round(rate / peak, 4) if peak else f"the peak of {gpu} is not in the table"
    return found


if __name__ == "__main__":
    main()

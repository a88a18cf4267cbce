"""GGUF files, the model format of llama.cpp, Ollama and LM Studio: converted once into a folder that every stage can read.

    python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=gsm8k.json model=qwen2.5-0.5b-q4_0.gguf run=mine

transformers dequantizes the tensors. The folder holds them in bfloat16, with the tokenizer and the chat template of the file. It
is `$XDG_CACHE_HOME/deepcritic/gguf/` plus the file's name and a hash of its content, and can be trained, merged and served like
any other model.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import filelock

from deepcritic.errors import InputError
from deepcritic.extras import require

LOG = logging.getLogger(__name__)

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_SAMPLE = 1 << 20


def is_gguf(place: Path) -> bool:
    """Whether `place` is an existing file with the suffix of a GGUF file."""
    return place.suffix.lower() == SUFFIX and place.is_file()


def gguf_id(place: Path, field: str = "model") -> str:
    """The file's name with a hash of its size and of its first and last MiB. Raises `InputError` for another kind of file."""
    size = place.stat().st_size
    with place.open("rb") as stream:
        head = stream.read(_SAMPLE)
        stream.seek(max(0, size - _SAMPLE))
        tail = stream.read(_SAMPLE)
    if not head.startswith(_MAGIC):
        raise InputError("not a GGUF file", field=field, found=str(place), expected="a file that begins with GGUF")
    return f"{place.stem}#{hashlib.sha256(str(size).encode() + head + tail).hexdigest()[:12]}"


def converted(place: Path, field: str = "model") -> Path:
    """The folder with the converted model, converting it if needed. Raises `InputError` if transformers cannot read the file."""
    folder = _cache() / gguf_id(place, field).replace("#", "-")
    if (folder / "config.json").is_file():
        return folder
    require("gguf", "torch", "transformers", purpose=f"{field}={place.name}", extra="gguf")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.parent / f".{folder.name}.lock"):
        if not (folder / "config.json").is_file():
            LOG.info(f"{place}: converting to {folder} (once; takes minutes for a large vocabulary)")
            _convert(place, folder, field)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepcritic" / "gguf"


def _convert(place: Path, folder: Path, field: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: Any = {"pretrained_model_name_or_path": str(place.parent), "gguf_file": place.name}
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".converting-"))
    try:
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
        tokenizer = AutoTokenizer.from_pretrained(**source)
        _take_back(model)
        # The file names the token that ends a turn. The converted tokenizer may name another one.
        for name in ("eos", "bos", "pad"):
            token = getattr(model.config, f"{name}_token_id", None)
            if isinstance(token, int) and token < len(tokenizer):
                setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(token))
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        beside.rename(folder)
    except Exception as error:  # readers raise arbitrary exceptions on a damaged file
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise InputError(
            f"transformers cannot read the GGUF file ({reason})", field=field, found=str(place),
            expected="a complete model in one file, of a type supported by transformers",
            remedy="serve it with llama.cpp and set sampler=openai sampler.urls=[...]",
        ) from error  # fmt: skip
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _take_back(model: Any) -> None:
    """Mark the weights as unquantized, so that they can be saved, trained and loaded."""
    model.is_quantized, model.hf_quantizer = False, None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config

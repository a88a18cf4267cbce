"""Where a model comes from: a local folder, a GGUF file, a hub id (`org/name@revision`), or `deepcritic://` for a shipped model.

Names are checked before a heavy library is called: transformers would search the hub for half a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepcritic.errors import InputError
from deepcritic.extras import require
from deepcritic.hub.gguf import converted, gguf_id, is_gguf
from deepcritic.shipped_models import SHIPPED, shipped_path
from deepcritic.text.chat_template import adapt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOG = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w./-]+)?")
_SAMPLE = 1 << 20
_WORTH_SAYING = 10_000_000
"""The number of parameters from which the choice of dtype is logged."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def find_model(model: str, field: str = "model") -> tuple[str, str | None]:
    """`(folder or hub id, revision)`. A GGUF file is converted into a folder. Raises `InputError` at once for a path without a
    model."""
    place = Path(shipped_path(model)).expanduser()
    if is_gguf(place):
        return str(converted(place, field)), None
    if place.is_dir():
        if not (place / "config.json").is_file():
            if (place / ADAPTER_FILES[0]).is_file():
                raise InputError(
                    "the folder has an adapter, not a model", field=field, found=model,
                    expected="its base model, or a folder with the merged model",
                )  # fmt: skip
            raise InputError(
                "the folder has no model", field=field, found=model, expected="a folder with config.json and weights"
            )
        return str(place), None
    looks_local = model.startswith((".", "/", "~", SHIPPED)) or Path(model.split("/")[0]).is_dir()
    if looks_local or not _HUB_ID.fullmatch(model):
        raise InputError(
            "no such model folder",
            field=field,
            found=model,
            expected="an existing folder or GGUF file, or a hub id org/name@revision",
        )
    name, _, revision = model.partition("@")
    return _in_cache_or_on_hub(name, revision or None, field), revision or None


def model_id(model: str, field: str = "model") -> str:
    """The model's name with a hash of its content, which distinguishes different weights under the same path.

    The hash covers the size and the first and last MiB of each weight file: enough to detect a change, cheap at 100 GB.
    """
    place = Path(shipped_path(model)).expanduser()
    if is_gguf(place):
        return gguf_id(place, field)
    path, revision = find_model(model, field)
    folder = Path(path)
    if not folder.is_dir():
        return f"{path}@{revision or 'main'}"
    return f"{folder.name}#{_content_hash(folder)}"


def adapter_id(lora: str, field: str = "sampler.lora") -> str:
    """The name of a LoRA adapter's folder with a hash of its content. Raises `InputError` if there is none."""
    folder = Path(lora).expanduser()
    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
    if missing:
        raise InputError("the folder has no adapter", field=field, found=lora, expected=f"a folder with {' and '.join(missing)}")
    return f"{folder.name}#{_content_hash(folder)}"


def _content_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in {".safetensors", ".json", ".jinja", ".model", ".txt"} and file.is_file():
            size = file.stat().st_size
            digest.update(f"{file.name}:{size}".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(_SAMPLE))
                stream.seek(max(0, size - _SAMPLE))
                digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()[:12]


def require_transformers(field: str, model: str) -> None:
    """Raise `UsageError` if torch or transformers is not installed."""
    require("torch", "transformers", "tokenizers", "safetensors", purpose=f"{field}={model}", extra="transformers")


def load_tokenizer(
    model: str, field: str = "model", *, chat: bool = True, template_args: Mapping[str, Any] | None = None
) -> PreTrainedTokenizerBase:
    """The model's tokenizer. A `chat` requires a chat template, as the format is never guessed. `template_args` are variables of
    that template (see `deepcritic.text.chat_template.adapt`)."""
    require_transformers(field, model)
    from transformers import AutoTokenizer

    path, revision = find_model(model, field)
    with _explained("the tokenizer", model, field):
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=False)
    if chat and not tokenizer.chat_template:
        raise InputError("the tokenizer has no chat template", field=field, found=model, expected="an instruction-tuned model")
    if chat:
        adapt(tokenizer, Path(path).name, template_args)
    return tokenizer


def check_causal(model: str, field: str = "model") -> None:
    """Raises `InputError` for a model that does not generate text: transformers would initialize its missing weights at
    random."""
    require_transformers(field, model)
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    path, revision = find_model(model, field)
    with _explained("the model's configuration", model, field):
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
    kinds = config.architectures or []
    if kinds and not set(kinds) & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        raise InputError(
            "not a generative model",
            field=field,
            found=f"{model} ({', '.join(kinds)})",
            expected="a model of class ...ForCausalLM",
        )


def load_model(
    model: str,
    *,
    dtype: str = "auto",
    device: str = "auto",
    field: str = "model",
    kind: str | type[PreTrainedModel] = "AutoModelForCausalLM",
    **more: Any,
) -> PreTrainedModel:
    """The model's weights, from safetensors only, on `device` (`auto`: the first GPU, else the CPU in float32).

    `kind` is the transformers class that reads them, by name, or a class of this package. `more` goes to its `from_pretrained`.
    Missing weights of a generative model, or of this package's classes, raise `InputError`: transformers would initialize them
    at random.
    """
    require_transformers(field, model)
    import torch
    import transformers

    path, revision = find_model(model, field)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    number: Any = (torch.float32 if device == "cpu" else "auto") if dtype == "auto" else getattr(torch, dtype, None)
    if number != "auto" and not isinstance(number, torch.dtype):
        raise InputError("unknown dtype", field="dtype", found=dtype, expected="auto, float32, bfloat16 or float16")
    with _explained("the model", model, field):
        reader: Any = getattr(transformers, kind) if isinstance(kind, str) else kind
        loaded, found = reader.from_pretrained(
            path, revision=revision, dtype=number, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **more
        )
    if found["missing_keys"] and (
        kind == "AutoModelForCausalLM" or not isinstance(kind, str)
    ):  # for other classes the caller checks for the head
        lacking = f"{model} (without {', '.join(sorted(found['missing_keys'])[:3])})"
        raise InputError(
            "weights are missing", field=field, found=lacking, expected="a complete folder of the model in config.json"
        )
    weights: PreTrainedModel = loaded
    if device == "cpu" and dtype == "auto":
        _tell_dtype(weights, path, revision)
    return weights if device == "cpu" else weights.to(device)


def _tell_dtype(weights: PreTrainedModel, path: str, revision: str | None) -> None:
    """Log that a large model with another dtype is loaded in float32, and the alternatives."""
    import torch
    from transformers import AutoConfig

    own = getattr(AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False), "dtype", None)
    if own in {None, torch.float32, torch.float64} or weights.num_parameters() < _WORTH_SAYING:
        return
    name = str(own).removeprefix("torch.")
    if torch.cpu.get_capabilities().get("avx512_bf16"):
        why = "replies do not depend on the batch size; dtype=bfloat16 is faster on this CPU"
    else:
        why = f"this CPU does not support {name}"
    LOG.warning(f"{Path(path).name}: {name} weights are loaded as float32 ({why})")


@contextlib.contextmanager
def _explained(what: str, model: str, field: str) -> Iterator[None]:
    """Turn loading errors of a damaged or wrong folder into `InputError`."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        expected = "a complete folder with safetensors weights"
        raise InputError(f"{what} cannot be loaded ({reason})", field=field, found=model, expected=expected) from error


def context_length(model: PreTrainedModel | str) -> int | None:
    """The context length of a model, or of a named model's configuration: prompt and reply together, in tokens.

    None if the configuration has none, as for a recurrent model.
    """
    if isinstance(model, str):
        from transformers import AutoConfig

        path, revision = find_model(model)
        with _explained("the model's configuration", model, "model"):
            config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
    else:
        config = model.config
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(length) if isinstance(length, int) and length > 0 else None


def _in_cache_or_on_hub(name: str, revision: str | None, field: str) -> str:
    import httpx
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        return name
    expected = "an existing folder, or an available hub id"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes"}:
        raise InputError("no such folder, and the hub is disabled (HF_HUB_OFFLINE)", field=field, found=name, expected=expected)
    try:
        HfApi().model_info(name, revision=revision, timeout=5)
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        reason = type(error).__name__
        raise InputError(
            f"no such folder, and not found on the hub ({reason})", field=field, found=name, expected=expected
        ) from None
    return name

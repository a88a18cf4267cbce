"""Optional packages: the extra that installs each, and a one-line error if one is missing.

>>> require("json", purpose="this example")
>>> EXTRA_OF["torch"]
'transformers'
"""

from __future__ import annotations

import importlib.util

from deepcritic.errors import UsageError

EXTRA_OF = {
    "torch": "transformers",
    "transformers": "transformers",
    "tokenizers": "transformers",
    "safetensors": "transformers",
    "gguf": "gguf",
    "datasets": "datasets",
    "pyarrow": "datasets",
    "pandas": "datasets",
    "huggingface_hub": "datasets",
    "httpx": "datasets",
    "trl": "train",
    "accelerate": "train",
    "peft": "train",
    "math_verify": "answers",
    "latex2sympy2_extended": "answers",
    "sympy": "answers",
    "matplotlib": "report",
    "jinja2": "report",
    "markupsafe": "report",
    "vllm": "vllm",
    "ray": "ray",
    "fastapi": "service",
    "starlette": "service",
    "pydantic": "service",
    "uvicorn": "service",
    "prometheus_client": "service",
    "litellm": "litellm",
    "inspect_ai": "inspect",
    "verifiers": "verifiers",
}
"""The smallest extra that installs a package. A test compares it with `pyproject.toml`."""

_TRAINING = ("torch", "transformers", "datasets", "trl", "accelerate")
PACKAGES_OF_STAGE = {
    "sft": _TRAINING,
    "rl": _TRAINING,
    "meta_rm": _TRAINING,
    "report": ("matplotlib", "jinja2"),
    "export": ("inspect_ai",),
}
"""The packages that a stage requires with any options."""
_EXTRA_OF_STAGE = {"sft": "train", "rl": "train", "meta_rm": "train"}


def require_for_stages(*stages: str) -> None:
    """Raise `UsageError`, with one install command, if a package that `stages` always need is missing."""
    lacking = {stage: [name for name in PACKAGES_OF_STAGE.get(stage, ()) if not _is_installed(name)] for stage in stages}
    lacking = {stage: names for stage, names in lacking.items() if names}
    if lacking:
        names = list(dict.fromkeys(name for found in lacking.values() for name in found))
        extras = dict.fromkeys(_EXTRA_OF_STAGE.get(stage, EXTRA_OF[found[0]]) for stage, found in lacking.items())
        purpose = ", ".join(f"stage={stage}" for stage in lacking)
        raise _error(names, purpose=purpose, extra=",".join(extras))


def require(*packages: str, purpose: str, extra: str | None = None) -> None:
    """Raise `UsageError`, with an install command, if one of `packages` is missing.

    `purpose` begins the message ("stage=report"); `extra` is needed if several extras install the package.
    """
    lacking = [package for package in packages if not _is_installed(package)]
    if lacking:
        raise _error(lacking, purpose=purpose, extra=extra or EXTRA_OF[lacking[0]])


def missing(package: str, *, purpose: str) -> UsageError:
    """The error for a package that is not installed."""
    return _error([package], purpose=purpose, extra=EXTRA_OF[package])


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _error(packages: list[str], *, purpose: str, extra: str) -> UsageError:
    return UsageError(f"{purpose}: not installed: {', '.join(packages)}; pip install 'deepcritic[{extra}]'")

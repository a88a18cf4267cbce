"""Optional packages: which extra installs each, and one clear line where one is missing.

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
    "datasets": "datasets",
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
"""What a stage cannot do without, whatever its options are."""
_EXTRA_OF_STAGE = {"sft": "train", "rl": "train", "meta_rm": "train"}


def require_for_stage(stage: str) -> None:
    """Raise `UsageError` with the command that installs what `stage` always needs, where it is missing."""
    require(*PACKAGES_OF_STAGE.get(stage, ()), purpose=f"stage={stage}", extra=_EXTRA_OF_STAGE.get(stage))


def require(*packages: str, purpose: str, extra: str | None = None) -> None:
    """Raise `UsageError` with the command that installs them where one of `packages` is missing.

    `purpose` begins the message ("stage=report"); `extra` is needed where several extras would install the package.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise missing(package, purpose=purpose, extra=extra)


def missing(package: str, *, purpose: str, extra: str | None = None) -> UsageError:
    """The error for a package that is not installed."""
    install = f"pip install 'deepcritic[{extra or EXTRA_OF[package]}]'"
    return UsageError(f"{purpose} needs the package {package}, which is not installed: {install}")

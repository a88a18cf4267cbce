"""Critics of step-by-step mathematical reasoning: train them, evaluate them, use them.

    from deepcritic import Critic, refine

The command line is `python -m deepcritic --help`. Importing the package loads neither torch nor any engine: each public name is
imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepcritic import errors, rewards, schema
    from deepcritic.critic import Critic, Critique
    from deepcritic.evaluation.load import Results, load_results
    from deepcritic.refining import Refinement, arefine, refine

    __version__: str

__all__ = [
    "Critic", "Critique", "Refinement", "Results", "__version__", "arefine", "errors", "load_results", "refine", "rewards",
    "schema",
]  # fmt: skip

_MODULE_OF = {
    "Critic": "critic", "Critique": "critic", "Refinement": "refining", "refine": "refining", "arefine": "refining",
    "Results": "evaluation.load", "load_results": "evaluation.load",
}  # fmt: skip
_MODULES = ("errors", "rewards", "schema")


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("deepcritic")
        except PackageNotFoundError:  # a checkout on the path that is not installed
            return "unknown"
    if name in _MODULES:
        return importlib.import_module(f"deepcritic.{name}")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"deepcritic.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

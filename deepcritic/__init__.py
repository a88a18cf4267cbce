"""Critics of step-by-step mathematical reasoning: make them, measure them, put them to work.

    from deepcritic import Critic, refine

The command line is `python -m deepcritic --help`. Importing the package loads neither torch nor any engine.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepcritic.critic import Critic, Critique
    from deepcritic.refining import Refinement, refine

__all__ = ["Critic", "Critique", "Refinement", "refine"]

_PLACES = {"Critic": "critic", "Critique": "critic", "Refinement": "refining", "refine": "refining"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"deepcritic.{_PLACES[name]}"), name)

"""The API page: every public name says what it is, shows an example that runs as a doctest, and is on the page."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import deepcritic
from deepcritic.critic import Critic, Critique
from deepcritic.refining import Refinement
from deepcritic.rewards import CriticReward, judgment_reward

ROOT = Path(__file__).resolve().parent.parent
ASKED = ("critique", "critique_many", "acritique", "acritique_many")
PUBLIC: dict[str, Any] = {name: getattr(deepcritic, name) for name in deepcritic.__all__ if callable(getattr(deepcritic, name))}
PUBLIC |= {f"Critic.{name}": getattr(Critic, name) for name in ASKED} | {"CriticReward": CriticReward}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_docstring_with_an_example(name: str) -> None:
    text = PUBLIC[name].__doc__ or ""
    assert text.strip()
    assert ">>>" in text, f"{name} shows no example"


def test_the_package_lists_its_public_names() -> None:
    assert dir(deepcritic) == sorted(deepcritic.__all__)
    assert {"Critic", "Critique", "Refinement", "refine", "errors", "schema", "rewards"} <= set(dir(deepcritic))
    assert all(getattr(deepcritic, name) is not None for name in deepcritic.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Critik'"):
        _ = deepcritic.Critik


def test_the_version_is_that_of_the_distribution() -> None:
    assert deepcritic.__version__ == importlib.metadata.version("deepcritic")
    assert f"\nversion: {deepcritic.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_type_checkers_read_the_annotations() -> None:
    assert (ROOT / "deepcritic" / "py.typed").is_file()


@pytest.mark.parametrize("kind", [Critic, Critique, Refinement, CriticReward])
def test_what_can_be_called_or_read_says_what_it_is(kind: type) -> None:
    for name, member in vars(kind).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert (member.__doc__ or "").strip(), f"{kind.__name__}.{name}"


@pytest.mark.parametrize(
    "function", [Critic.__init__, *(getattr(Critic, name) for name in ASKED), deepcritic.refine, judgment_reward]
)
def test_everything_is_typed(function: Any) -> None:
    signature = inspect.signature(function)
    assert all(p.annotation is not p.empty for p in signature.parameters.values() if p.name != "self")
    assert signature.return_annotation is not signature.empty


def test_the_pages_name_modules_that_there_are() -> None:
    text = "".join(page.read_text("utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    modules = re.findall(r"^::: (\S+)", text, re.MULTILINE)
    assert {"deepcritic.critic", "deepcritic.refining", "deepcritic.rewards", "deepcritic.errors"} <= set(modules)
    assert all(importlib.util.find_spec(module) for module in modules)

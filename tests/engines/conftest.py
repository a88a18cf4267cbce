"""What the tests of engines share: they need vLLM and Ray, which `scripts/test engines` installs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.serving import LOCAL, serve

HERE = Path(__file__).parent
for name, value in LOCAL.items():
    os.environ.setdefault(name, value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in ("vllm", "ray") if importlib.util.find_spec(name) is None]
    for item in items:
        if missing and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"needs {' and '.join(missing)}: scripts/test engines"))


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where servers write what they have to say; $DEEPCRITIC_LOGS keeps it."""
    kept = os.environ.get("DEEPCRITIC_LOGS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("logs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def server(critic_model: Path, logs: Path) -> Iterator[str]:
    """The base URL of a `vllm serve` with the small critic, under its folder and under a name."""
    with serve(critic_model, logs / "critic.log", "--served-model-name", str(critic_model), "critic") as url:
        yield url

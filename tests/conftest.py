"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def datasets_dir() -> Path:
    """The folder of public data sets: $DEEPCRITIC_DATASETS, else ../shared/datasets beside the repository."""
    folder = Path(os.environ.get("DEEPCRITIC_DATASETS") or ROOT.parent / "shared" / "datasets")
    if not folder.is_dir():
        pytest.skip(f"the public data sets are not at {folder}; set DEEPCRITIC_DATASETS to their folder")
    return folder


@pytest.fixture(scope="session")
def samples_dir() -> Path:
    """The small made-up samples that ship with the repository."""
    return ROOT / "data" / "samples"

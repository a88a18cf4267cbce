"""Many clients while the engine and then the service are killed: what the bench measures at full size, small."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the service: pip install deepcritic[service]")
FOLDER = Path(__file__).resolve().parents[2] / "scripts" / "benches"


def test_every_request_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("bench_of_the_service", FOLDER / "service.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, bench)
    spec.loader.exec_module(bench)
    outcome = bench.drill(400)
    assert (outcome.ours, outcome.holds) == (0, True)

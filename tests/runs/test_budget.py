"""Money, how far a stage may go, and the account of all its starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import UsageError
from deepcritic.runs.budget import Limits, Price, Segment, UsageLog
from deepcritic.runs.jsonl import read_rows


@pytest.mark.parametrize(
    ("price", "tokens", "money"),
    [
        (Price(), (10, 10, 5), 0.0),
        (Price(prompt=2.0, completion=6.0), (1_000_000, 500_000, 0), 5.0),
        (Price(prompt=2.0, completion=6.0), (1_000_000, 500_000, 400_000), 5.0),
        (Price(prompt=2.0, cached=0.5, completion=6.0), (1_000_000, 500_000, 400_000), 4.4),
        (Price(prompt=2.0, cached=0.0, completion=6.0), (1_000_000, 500_000, 400_000), 4.2),
    ],
)
def test_money(price: Price, tokens: tuple[int, int, int], money: float) -> None:
    assert price.of(*tokens) == pytest.approx(money)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_cost": 5}, "max_cost needs prices"),
        ({"max_cost": -1, "price": {"prompt": 1}}, "max_cost: not an amount; found -1"),
        ({"max_cost": float("nan"), "price": {"prompt": 1}}, "max_cost: not an amount; found nan"),
        ({"price": {"prompt": -1}}, "price.prompt: not a price; found -1"),
        ({"price": {"completion": float("nan")}}, "price.completion: not a price; found nan"),
        ({"price": {"prompt": "dear"}}, "price.prompt: Expected `float`, got `str`"),
        ({"price": {"promt": 1}}, "price: Object contains unknown field `promt`"),
        ({"price": 3}, "price: Expected `object`, got `int`"),
        ({"probe": 0}, "probe: not a number of rows; found 0"),
        ({"probe": 2.5}, "probe: Expected"),
        ({"dry_run": "perhaps"}, "dry_run: Expected `bool`, got `str`"),
        ({"dry_run": True, "probe": 3}, "set only one of them"),
    ],
)
def test_limits_that_mean_nothing_are_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Limits.read(given)
    assert said in str(caught.value)


def test_limits_are_read() -> None:
    limits = Limits.read(
        {"price": {"prompt": 1, "cached": None, "completion": 2}, "max_cost": 3, "dry_run": False, "probe": None}
    )
    assert limits == Limits(price=Price(prompt=1.0, completion=2.0), max_cost=3.0)
    assert not limits.trial
    assert Limits(dry_run=True).trial
    assert Limits(probe=1).trial


def test_the_account_holds_all_starts(tmp_path: Path) -> None:
    for _ in range(3):
        effort = UsageLog(tmp_path)
        effort.open()
        effort.add(requests=2, retries=1)
        effort.add(requests=1, duplicates=1)
        time.sleep(0.01)
        effort.close()
    totals = effort.totals()
    assert {name: totals[name] for name in ("requests", "retries", "duplicates")} == {
        "requests": 9,
        "retries": 3,
        "duplicates": 3,
    }
    assert totals["seconds"] == pytest.approx(sum(row.seconds for row in read_rows(tmp_path / UsageLog.FILE, Segment)), abs=0.06)
    effort.close()
    assert effort.totals() == totals, "closing twice is closing once"


KILLED = """
import os, pathlib, sys, time
from deepcritic.runs.budget import UsageLog
UsageLog.MINUTE = 0.02
effort = UsageLog(pathlib.Path(sys.argv[1]))
effort.open()
effort.add(requests=5)
time.sleep(0.3)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL")
def test_a_start_that_is_killed_is_in_the_account(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False).returncode == -9
    effort = UsageLog(tmp_path)
    effort.open()
    effort.add(requests=1)
    effort.close()
    totals = effort.totals()
    assert totals["requests"] == 6
    assert totals["seconds"] >= 0.1

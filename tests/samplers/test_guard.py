"""Processes that do not outlive the one that guards them."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from deepcritic.samplers.guard import Guard

CLIENT = """
import subprocess, sys, time
from deepcritic.samplers.guard import Guard

if __name__ == "__main__":
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.PIPE)
    with Guard(sleeper.pid):
        print(sleeper.pid, flush=True)
        time.sleep(600)
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guard is for Linux")


def test_what_is_guarded_dies_with_a_client_that_is_killed() -> None:
    client = subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    guarded = os.pidfd_open(int(client.stdout.readline()))
    assert not select.select([guarded], [], [], 0)[0]
    client.kill()
    client.wait()
    assert select.select([guarded], [], [], 60)[0]


def test_what_is_guarded_dies_when_the_guard_is_left_and_may_be_dead_before() -> None:
    sleepers = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) for _ in range(2)]
    with Guard(*(sleeper.pid for sleeper in sleepers)):
        sleepers[0].kill()
        sleepers[0].wait()
        assert sleepers[1].poll() is None
    assert sleepers[1].wait(60) < 0


def test_nothing_to_guard() -> None:
    with Guard():
        pass

"""Processes that do not outlive the one that watches them."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from deepcritic.samplers.watchdog import Watchdog

SLEEP = "import time; time.sleep(600)"
CLIENT = """
import multiprocessing, time
from deepcritic.samplers.watchdog import Watchdog

if __name__ == "__main__":
    with Watchdog() as watchdog, watchdog.children():
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
        time.sleep(1.0)
        print(child.pid, flush=True)
        time.sleep(600)
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the watchdog is for Linux")


def test_what_is_watched_dies_with_a_client_that_is_killed() -> None:
    client = subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    watched = os.pidfd_open(int(client.stdout.readline()))
    assert not select.select([watched], [], [], 0)[0]
    client.kill()
    client.wait()
    assert select.select([watched], [], [], 60)[0]


def test_what_is_watched_dies_when_the_watchdog_is_left_and_may_be_dead_before() -> None:
    dead, sleeper, other = (subprocess.Popen([sys.executable, "-c", SLEEP]) for _ in range(3))
    dead.kill()
    dead.wait()
    with Watchdog() as watchdog:
        for process in (dead, sleeper):
            watchdog.add(process.pid)
        assert sleeper.poll() is None
    assert sleeper.wait(60) < 0
    assert other.poll() is None
    other.kill()
    other.wait()


def test_nothing_to_watch() -> None:
    with Watchdog():
        pass

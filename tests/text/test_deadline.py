"""Code that does not end is stopped, in any thread, and nothing is raised outside of its block."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deepcritic.text.deadline import DeadlineError, deadline


def endless() -> None:
    with deadline(0.05):
        while True:
            pass


def test_endless_code_is_stopped_in_every_thread() -> None:
    with ThreadPoolExecutor(4) as threads:
        for found in [threads.submit(endless) for _ in range(8)]:
            with pytest.raises(DeadlineError):
                found.result(timeout=60)
    with pytest.raises(DeadlineError):
        endless()


def test_a_block_that_ends_in_time_leaves_nothing_behind() -> None:
    for _ in range(1000):
        with deadline(0.3):
            pass
    time.sleep(0.6)  # all deadlines have passed
    assert sum(thread.name == "deadlines" for thread in threading.enumerate()) == 1


def test_another_error_passes() -> None:
    with pytest.raises(KeyError), deadline(5):
        raise KeyError("own")

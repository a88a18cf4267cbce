"""The solutions and the task of the tests of stages."""

from __future__ import annotations

from tests.stages.conftest import critic_task, make_solutions, open_folder

__all__ = ["critic_task", "make_solutions", "open_folder"]

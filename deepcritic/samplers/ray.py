"""Sampling on several machines: engines on a Ray cluster, each of which gets blocks of requests when it has room.

    python -m deepcritic stage=solve stage.problems=problems.jsonl generator=PATH run=mine \\
        sampler=ray sampler.address=auto sampler.engine.tensor_parallel=4 sampler.gpus=4

Ray places the engines, restarts those that die, and repeats their blocks. A block returns as a whole, once, and is compared
with the keys that were sent. Ray executes each block at least once, but each outcome is yielded exactly once. (Ray Data is
similar, but needs all its input before it starts and reloads the engines for each call.)
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from deepcritic.errors import DeepCriticError, InputError, StageIncomplete, UsageError
from deepcritic.samplers.base import Bounded, Lengths, Request, Sampler, Tokenizing
from deepcritic.schema import Failure, Generation

AHEAD = 2
"""Blocks that an engine has at a time: the next one keeps it busy while the last replies of the first are generated."""
RESTARTS = 3
LEAVE_SECONDS = 30


class RaySampler:
    """Samples with `engine` (another sampler, as for `sampler=`) in `actors` processes of the cluster at `address`.

    `address` is `local` for this machine only, `auto` for the cluster that it belongs to, or any address of `ray.init`. Each
    engine gets `gpus` GPUs and `cpus` processors; on a cluster without GPUs it gets none. By default there are as many engines
    as the GPUs allow, or one per machine if there are no GPUs. About `block` samples are sent together. If this process is
    killed, at most two blocks per engine are drawn again. Every machine must have the same model at the same path.
    """

    def __init__(
        self,
        model: str,
        *,
        engine: Callable[..., Sampler],
        address: str = "local",
        actors: int | str = "auto",
        gpus: float = 1,
        cpus: float = 0.5,
        block: int = 256,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UsageError("sampler=ray needs Ray: pip install 'deepcritic[ray]'")
        if actors != "auto" and not (isinstance(actors, int) and actors >= 1):
            raise InputError("out of range", field="sampler.actors", found=actors, expected="auto, or from 1")
        self._model, self._engine, self._address = model, engine, address
        self._count, self._gpus, self._cpus, self._block = actors, gpus, cpus, block
        one = engine(model=model)
        self._id, self._source = one.model_id, one.tokenizer_source if isinstance(one, Tokenizing) else None
        self._one = one
        self._actors: list[Any] = []

    @property
    def model_id(self) -> str:
        return self._id

    @property
    def tokenizer_source(self) -> str | None:
        return self._source

    @property
    def lengths(self) -> Lengths:
        return self._one.lengths if isinstance(self._one, Bounded) else Lengths()

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        import ray

        blocks, again = self._blocks(requests), deque[list[Request]]()
        free = deque(self._actors * AHEAD)
        drawing: dict[Any, tuple[Any, list[Request]]] = {}
        while True:
            while free and (block := again.popleft() if again else next(blocks, None)):
                actor = free.popleft()
                drawing[actor.draw.remote(block)] = actor, block
            if not drawing:
                break
            (done, *_), _ = ray.wait(list(drawing), num_returns=1)
            actor, block = drawing.pop(done)
            outcomes = self._outcomes(done)
            if outcomes is None:
                again.append(block)
                free = deque(one for one in free if one is not actor)
                continue
            free.append(actor)
            found = {outcome.key: outcome for outcome in outcomes}
            for key in (key for one in block for key in one.keys):
                yield found.get(key) or Failure(key=key, reason="engine", detail="the engine died before processing it")
        if again:
            raise StageIncomplete("all engines of the cluster died; completed replies are kept; rerun the same command to resume")

    def _outcomes(self, done: Any) -> list[Generation | Failure] | None:
        """The outcomes of a block; None if its engine is dead and Ray has stopped restarting it."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        try:
            outcomes: list[Generation | Failure] = ray.get(done)
        except RayActorError:
            return None
        except RayTaskError as error:
            if isinstance(error.cause, DeepCriticError):
                raise error.cause from None
            raise
        return outcomes

    def _blocks(self, requests: Iterable[Request]) -> Iterator[list[Request]]:
        block: list[Request] = []
        for request in requests:
            block.append(request)
            if sum(len(one.keys) for one in block) >= self._block:
                yield block
                block = []
        if block:
            yield block

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._began_ray = not ray.is_initialized()
        if self._began_ray:
            try:
                _knock(self._address)
                ray.init(address=self._address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            except (OSError, ValueError, RuntimeError) as error:
                reason = str(error).strip().partition("\n")[0]
                expected = "local, auto, or the address of a running cluster"
                raise InputError(
                    f"no Ray cluster ({reason})", field="sampler.address", found=self._address, expected=expected
                ) from error
        try:
            self._place()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _place(self) -> None:
        """Request the engines and wait until one of them is ready."""
        import ray
        from ray.exceptions import RayActorError

        there = ray.cluster_resources().get("GPU", 0)
        gpus = self._gpus if there else 0
        machines = sum(bool(node["Alive"]) for node in ray.nodes())
        fitting = int(there // gpus) if gpus else machines
        placed = ray.remote(_Engine).options(
            num_cpus=self._cpus, num_gpus=gpus, max_restarts=RESTARTS, max_task_retries=RESTARTS, max_concurrency=4 * AHEAD,
            scheduling_strategy="SPREAD",
        )  # fmt: skip
        count = max(1, fitting) if self._count == "auto" else int(self._count)
        self._actors = [placed.remote(self._engine, self._model, self._id) for _ in range(count)]
        (first, *_), _ = ray.wait([actor.problem.remote() for actor in self._actors], num_returns=1)
        try:
            problem: DeepCriticError | None = ray.get(first)
        except RayActorError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise InputError(f"the engine did not start ({reason})", field="sampler.engine", remedy="see Ray's logs") from error
        if problem is not None:
            raise problem

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import ray

        with contextlib.suppress(Exception):  # an engine that no longer answers is killed like the others
            ray.get([actor.close.remote() for actor in self._actors], timeout=LEAVE_SECONDS)
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        if self._began_ray:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raises `OSError` if nothing listens at `address`; Ray itself would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


class _Engine:
    """The actor on the cluster: one engine that stays open and is called by several threads."""

    def __init__(self, engine: Callable[..., Sampler], model: str, wanted: str) -> None:
        self._problem: DeepCriticError | None = None
        try:
            self._sampler = engine(model=model)
            if self._sampler.model_id != wanted:
                raise InputError(
                    f"{platform.node()} has a different model", field="model", found=self._sampler.model_id, expected=wanted
                )
            self._sampler.__enter__()
        except DeepCriticError as error:
            self._problem = error

    def problem(self) -> DeepCriticError | None:
        """Why the engine could not start, or None."""
        return self._problem

    def draw(self, block: list[Request]) -> list[Generation | Failure]:
        if self._problem is not None:
            raise self._problem
        return list(self._sampler.stream(block))

    def close(self) -> None:
        if self._problem is None:
            self._sampler.__exit__(None, None, None)

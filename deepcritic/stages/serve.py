"""Serve a critic over HTTP until SIGTERM or Ctrl-C: critiques, step scores, rewards (see the page "Serve").

python -m deepcritic serve model=PATH
python -m deepcritic serve model=NAME sampler=openai sampler.urls=[http://gpu:8000/v1] port=8000
python -m deepcritic serve model=PATH scorer=qwen_math_prm
python -m deepcritic serve model=PATH task=proof
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from deepcritic.critic import Critic
from deepcritic.errors import Stopped, UsageError
from deepcritic.options import Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Sampler
from deepcritic.samplers.resume import engine_for
from deepcritic.schema import Item
from deepcritic.scorers.base import Scorer
from deepcritic.service.limits import Limits
from deepcritic.service.serve import serve
from deepcritic.tasks.base import CriticTask

TASKS = ("first_error", "proof")
"""Tasks whose rows are a problem and one solution, as the requests of the service are."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Options):
    """Serve a critic over HTTP: critiques, step scores and rewards."""

    COUNTS_COST: ClassVar = False

    model: str | None = option(None, "critic: local folder, GGUF file or hub id (ORG/NAME@revision)", group="Model", top=True)
    prm: str | None = option(None, "process reward model for /v1/scores, with scorer=NAME; null: use the critic's vote shares")
    samples: int = option(8, "critiques per vote, unless the request sets it", group="Sampling", at_least=1)
    temperature: float | None = option(None, "sampling temperature; null: 0.6 for one critique, 1.0 for several", at_least=0)
    top_p: float = option(0.9, "nucleus sampling")
    max_tokens: int | None = option(None, "maximum tokens per critique; null: up to the context length")
    seed: int = option(0, "random seed", top=True)
    host: str = option("127.0.0.1", "address to listen on; a public address requires a key", group="Service")
    port: int = option(8765, "port to listen on; 0: any free port", at_least=0, at_most=65535)
    key_env: str = option("DEEPCRITIC_API_KEY", "environment variable that holds the bearer key")
    lanes: int | None = option(None, "concurrent engine calls; null: 1 for a model in this process, else 64", at_least=1)
    queue: int = option(1024, "maximum queued solutions; beyond that, 429", group="Limits", at_least=1)
    body_bytes: int = option(8 << 20, "maximum size of a request in bytes; beyond that, 413", at_least=1)
    timeout: float = option(600.0, "deadline of a request in seconds; after that, 504 (408 for its body)")
    stall: float = option(120.0, "seconds without progress under load until /health returns 503")
    access_log: bool = option(False, "log the client's address, path and status of each request; its content is never logged")
    drain: float = option(600.0, "seconds to finish running requests at shutdown")


def run(
    folder: RunFolder,
    options: ServeOptions,
    *,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    scorer: Callable[..., Scorer[Item]] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Nothing is written."""
    if task.name not in TASKS:
        raise UsageError(
            f"task={task.name} cannot be served: it needs more than a problem and one solution; "
            f"expected task={' or task='.join(TASKS)}"
        )
    if (options.prm is None) != (scorer is None):
        raise UsageError("stage.prm=PATH and scorer=NAME must be set together")
    engine = engine_for(sampler, options.model, "model")
    if folder.limits.trial:
        raise Stopped("stage=serve cannot estimate its requests in advance")
    with contextlib.suppress(OSError):
        folder.path.rmdir()  # it is empty
    critic = Critic(
        sampler=engine, samples=options.samples, temperature=options.temperature, top_p=options.top_p,
        max_tokens=options.max_tokens, task=task, seed=options.seed,
    )  # fmt: skip
    limits = Limits(queue=options.queue, body_bytes=options.body_bytes, timeout=options.timeout, stall=options.stall)
    lanes = options.lanes or int(getattr(engine, "lanes", 1))
    serve(
        critic, scorer=engine_for(scorer, options.prm, "stage.prm") if scorer else None, host=options.host, port=options.port,
        limits=limits, lanes=lanes, key_env=options.key_env, drain=options.drain,
        access_log=options.access_log,
    )  # fmt: skip

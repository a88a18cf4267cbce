"""A service on a port of its own, in a thread, with a scripted critic behind it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the service: pip install deepcritic[service]")

import uvicorn

from deepcritic.critic import Critic
from deepcritic.service.app import create_app

Serve = Callable[..., contextlib.AbstractContextManager[str]]


@contextlib.contextmanager
def serving(critic: Critic, **options: Any) -> Iterator[str]:
    """The address of a service of `critic`."""
    app = create_app(critic, **options)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def serve() -> Serve:
    return serving

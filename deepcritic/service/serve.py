"""Run the service. On SIGTERM or Ctrl-C it finishes running requests and rejects new ones."""

from __future__ import annotations

import os
import socket

from deepcritic.critic import Critic
from deepcritic.errors import InputError, UsageError
from deepcritic.schema import Item
from deepcritic.scorers.base import Scorer
from deepcritic.service.limits import Limits

LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


def serve(
    critic: Critic, *, scorer: Scorer[Item] | None, host: str, port: int, limits: Limits, lanes: int, key_env: str, drain: float,
    access_log: bool = False,
) -> None:  # fmt: skip
    """Serve on `host` and `port`; blocks. `key_env` names the environment variable that holds the bearer key. `access_log` writes
    a line per request, without its content.

    Raises `UsageError` if the service's packages are missing, and `InputError` for a non-local address without a key.
    """
    try:
        import uvicorn

        from deepcritic.service.app import create_app
    except ModuleNotFoundError as error:
        raise UsageError(f"serving needs {error.name}: pip install 'deepcritic[service]'") from None

    key = os.environ.get(key_env, "").strip()
    if host not in LOCAL and not key:
        expected = f"a key in the environment variable {key_env}, or host=127.0.0.1"
        raise InputError("a public address requires a key", field="host", found=host, expected=expected)
    app = create_app(critic, scorer=scorer, limits=limits, key=key, lanes=lanes)
    with bound(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        print(f"serving {critic.model_id} on http://{shown}:{listener.getsockname()[1]} (docs: /docs)", flush=True)
        config = uvicorn.Config(
            app, log_level="info" if access_log else "warning", access_log=access_log, timeout_graceful_shutdown=int(drain),
            lifespan="on",
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])


def bound(host: str, port: int) -> socket.socket:
    """A socket on `host` and `port`; port 0 is any free one. Raises `InputError` if the address cannot be used."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        found = f"{host}:{port}: {os.strerror(error.errno or 0)}"
        raise InputError(
            "cannot listen here", field="host and port", found=found, expected="a free port, such as port=0"
        ) from None

"""Run the service. On SIGTERM or Ctrl-C it finishes running requests and rejects new ones."""

from __future__ import annotations

import os

from deepcritic.critic import Critic
from deepcritic.errors import InputError, UsageError
from deepcritic.schema import Item
from deepcritic.scorers.base import Scorer
from deepcritic.service.limits import Limits

LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


def serve(
    critic: Critic, *, scorer: Scorer[Item] | None, host: str, port: int, limits: Limits, lanes: int, key_env: str, drain: float
) -> None:
    """Serve on `host` and `port`; blocks. `key_env` names the environment variable that holds the bearer key.

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
    print(f"serving {critic.model_id} on http://{host}:{port} (docs: /docs)", flush=True)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=int(drain), lifespan="on"
    )
    uvicorn.Server(config).run()

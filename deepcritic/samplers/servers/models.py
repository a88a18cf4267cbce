"""Checks which servers have the model, under which name and with which context, and explains refusals.

found = ServedModel("critic-7b", folder=None)
await found.look(fleet, patience=600.0, exact=True)
found.name, found.context
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import math
import os
import time
from pathlib import Path

from deepcritic.errors import InputError
from deepcritic.samplers.servers.completions import cards
from deepcritic.samplers.servers.fleet import Fleet, Refusal
from deepcritic.samplers.servers.open_ports import listening
from deepcritic.samplers.servers.replies import message_of
from deepcritic.samplers.servers.server import Server, pause
from deepcritic.samplers.servers.slots import NoAnswer

LOG = logging.getLogger(__name__)

OWN = frozenset({"vllm", "sglang"})
"""The `owned_by` names of self-hosted servers."""


class ServedModel:
    """The model `asked`, or the one in `folder`, on the servers of a fleet. `key_name` is the environment variable of the
    key."""

    def __init__(self, asked: str, folder: Path | None, key_name: str) -> None:
        self.name, self._asked, self._folder, self._key_name = asked, asked, folder, key_name
        self.context: int | None = None
        """The shortest context that a server reports."""
        self.own = False
        """Whether a server identifies itself as vLLM or SGLang."""
        self._known = set[str]()

    async def look(self, fleet: Fleet, *, patience: float, exact: bool) -> None:
        """Wait until a server answers, and check that each one that does has the model.

        Raises `InputError` if none answers within `patience` seconds, one rejects the key, or, with `exact`, one has another
        model. Without `exact` unlisted names are allowed, because hosted models can have aliases.
        """
        until, attempt, said = time.monotonic() + patience, 0, -math.inf
        while True:
            problems = await asyncio.gather(*(self._card(fleet, server, exact) for server in fleet.servers if not server.aside))
            if None in problems:
                return
            attempt += 1
            now, seen = time.monotonic(), "; ".join(problem for problem in problems if problem)
            if now >= until:
                remedy = "start the servers, or set sampler.urls= to running ones"
                raise InputError(f"no server answers: {seen}", field="sampler.urls", remedy=remedy)
            if now - said >= 60:
                said, others = now, await listening([server.url for server in fleet.servers])
                near = f"; {others}" if others else ""
                LOG.warning(f"waiting for up to {until - now:.0f} s (sampler.patience): {seen}{near}")
            await asyncio.sleep(min(pause(attempt), max(0.0, until - now)))

    async def _card(self, fleet: Fleet, server: Server, exact: bool) -> str | None:
        """Read the model's entry from `server`; returns why it is not ready yet, or None."""
        try:
            status, content = await fleet.get(server, "models")
        except NoAnswer as error:
            return error.detail
        if status >= 500:
            return f"{server.url}/models: {status}"
        if status == 401:  # a key may be valid for replies but not for this page (403)
            self.check_address(Refusal(server.url, status, content))
        listed = cards(content) if status == 200 else []
        self._known |= {card.id for card in listed}
        for card in listed:
            if card.id == self._asked or (self._folder and card.root and Path(card.root).resolve() == self._folder):
                self.name = card.id
                self.context = min(filter(None, (self.context, card.max_model_len)), default=None)
                self.own = self.own or card.owned_by in OWN
                return None
        if listed and exact:
            raise InputError(f"{server.url} serves another model", field="model", found=self._asked, expected=self._near())
        return None

    def check_address(self, error: Refusal) -> None:
        """Raises `InputError` if key, model or address are wrong, because every row would fail."""
        found = f"{error.status} {message_of(error.body)}"
        if error.status in {401, 403}:
            state = "was rejected" if os.environ.get(self._key_name, "").strip() else "is not set"
            remedy = f"set the environment variable {self._key_name} to the server's key (sampler.api_key_env changes the name)"
            raise InputError(f"the key for {error.url} {state}", field="sampler.api_key_env", found=found, remedy=remedy)
        if error.status == 404:
            problem = f"{error.url} does not have the model, or the address is wrong"
            expected = f"{self._near()}, and a base URL, usually ending in /v1"
            raise InputError(problem, field="model", found=found, expected=expected)
        if error.status not in {400, 413, 422}:
            remedy = "check the account and the address"
            raise InputError(f"{error.url} rejects requests", field="sampler.urls", found=found, remedy=remedy)

    def _near(self) -> str:
        names = difflib.get_close_matches(self._asked, self._known, n=3, cutoff=0.3) or sorted(self._known)[:3]
        return f"a served model, such as {' or '.join(names)}" if names else "a served model"

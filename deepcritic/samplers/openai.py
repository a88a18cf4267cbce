"""Any server that speaks OpenAI's protocol: `vllm serve` first of all, a fleet of them, or a hosted model.

    python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json run=mine \\
        sampler=openai sampler.urls=[https://api.openai.com/v1] model=NAME

There are two ways to ask, and the configuration chooses. With a `tokenizer` prompts are token ids, made as for the
other engines, and replies can be continued: for servers of one's own. Without one the messages are sent and the server's
template makes the prompt: what hosted models offer. Each sample is one request with a seed of its own.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from deepcritic.errors import InputError
from deepcritic.hub.models import context_length, load_tokenizer, model_id
from deepcritic.samplers.base import Lengths, Request, Usage, unknown_context
from deepcritic.samplers.event_loop import Background
from deepcritic.samplers.servers.completions import (
    NEUTRAL,
    Completion,
    asks_too_much,
    cards,
    encode,
    message_of,
    read,
    refusal_of_row,
    with_seed,
)
from deepcritic.samplers.servers.fleet import Fleet, NoAnswer, Refusal
from deepcritic.samplers.servers.server import Server, pause
from deepcritic.schema import Failure, Generation, Key
from deepcritic.shipped import shipped_path
from deepcritic.text.chat_template import prompt_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REFUSALS_AT_FIRST = 8
"""So many refusals before the first reply mean that the settings are wrong, not the rows."""
OWN = frozenset({"vllm", "sglang"})
"""The names by which servers of one's own say what they are."""


class _Draw(NamedTuple):
    """One sample to be drawn; `body` is the request but for its seed, `unlimited` the same without a limit on the reply."""

    request: Request
    key: Key
    seed: int
    body: bytes
    unlimited: bytes | None
    fingerprint: str
    prompt_tokens: int


class OpenAISampler:
    """Samples from the servers at `urls`, base URLs as the protocol has them (`http://host:8000/v1`).

    `tokenizer` (a folder or hub id; by default the model, where that is a local folder) makes prompts of token ids.
    `continues` says that a chat server takes `continue_final_message`, as vLLM does; else a request that begins the
    reply is an error. `seeds=false` leaves the seed out, for servers that take none: draws are then not reproducible.
    `length_field` is `max_completion_tokens` for models that want that name; `extra` holds further fields of a request,
    and null there takes one away. The key is in the environment variable `api_key_env`. For the rest see `Fleet`.

    A reply may be as long as `max_tokens` and the context allow. Where prompts are messages the server counts: a limit that it
    refuses is left out and so becomes the most that it allows. With `strict_length` such a request is `too_long`.
    """

    def __init__(
        self,
        model: str,
        *,
        urls: str | list[str],
        tokenizer: str | None = None,
        continues: bool = False,
        seeds: bool = True,
        length_field: str = "max_tokens",
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 64,
        retries: int = 5,
        timeout: float = 3600.0,
        stall: float = 300.0,
        patience: float = 600.0,
        api_key_env: str = "OPENAI_API_KEY",
        strict_length: bool = False,
    ) -> None:
        folder = Path(shipped_path(model)).expanduser()
        self._folder = folder.resolve() if folder.is_dir() else None
        self._model, self._source = model, tokenizer or (model if self._folder else None)
        self._continues, self._seeds, self._length_field = continues, seeds, length_field
        self._extra = dict(extra or {})
        self._id = model_id(model) if self._folder else model
        if tokenizer and tokenizer != model:
            self._id += f"+{model_id(tokenizer, 'sampler.tokenizer')}"
        if self._extra:
            self._id += f"+{json.dumps(self._extra, sort_keys=True)}"
        self._key_name, self._patience, self._strict = api_key_env, patience, strict_length
        self._context: int | None = None
        self._fleet = Fleet(
            [urls] if isinstance(urls, str) else urls, concurrency=concurrency, retries=retries, timeout=timeout, stall=stall,
            patience=patience, secret=_secret(api_key_env),
        )  # fmt: skip
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._lock = threading.Lock()

    @property
    def model_id(self) -> str:
        return self._id

    @property
    def tokenizer_source(self) -> str | None:
        return self._source

    @property
    def lengths(self) -> Lengths:
        """Of what the server says; before it was asked, of what the configuration of a tokenizer's folder says."""
        known = self._context or (context_length(self._source) if self._source else None)
        return Lengths(known, self._strict)

    @property
    def usage(self) -> Usage:
        return self._fleet.usage

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        room = self._fleet.capacity
        return self._background.stream(self._draws(requests), self._outcome, room=room, ahead=room)

    def _draws(self, requests: Iterable[Request]) -> Iterator[_Draw | Failure]:
        lengths = self.lengths
        for request in requests:
            if request.prefix and self._tokenizer is None and not self._continues:
                raise InputError(
                    "replies are to go on from their beginning, which a chat server does in its own way or not at all",
                    field="sampler", remedy="give sampler.tokenizer=PATH (prompts of token ids), or sampler.continues=true where "
                    "the server takes continue_final_message, as vLLM does",
                )  # fmt: skip
            ids, unlimited, limit = None, None, request.sampling.max_tokens
            more = {**self._neutral, **self._extra}
            if self._tokenizer is not None:
                with self._lock:  # a tokenizer holds settings of the call at hand
                    ids = prompt_ids(self._tokenizer, request.messages, request.prefix)
                limit = lengths.limit(len(ids), request.sampling)
                if limit is None:  # `completions` would write 16 tokens
                    raise unknown_context(self._id)
                if limit == 0:
                    yield from lengths.failures(request, len(ids))
                    continue
            elif limit is not None and not self._strict:
                unlimited = encode(self._served, request, None, self._length_field, more, None)
            body = encode(self._served, request, ids, self._length_field, more, limit)
            fingerprint = request.fingerprint(self._id)
            for key, seed in zip(request.keys, request.seeds, strict=True):
                yield _Draw(request, key, seed, body, unlimited, fingerprint, len(ids or ()))

    async def _outcome(self, draw: _Draw | Failure) -> Generation | Failure:
        if isinstance(draw, Failure):
            return draw
        path = "chat/completions" if self._tokenizer is None else "completions"
        try:
            reply = await self._ask(path, draw)
        except NoAnswer as error:
            return Failure(key=draw.key, reason=error.reason, detail=error.detail)
        except Refusal as error:
            return self._refused(draw.key, error)
        self._answers += 1
        if reply.refused is not None:
            return Failure(key=draw.key, reason="refused", detail=reply.refused)
        if reply.prompt_tokens is not None and reply.prompt_tokens < draw.prompt_tokens:
            cut = f"the server cut the prompt of {draw.prompt_tokens} tokens to {reply.prompt_tokens}"
            return Failure(key=draw.key, reason="too_long", detail=cut)
        return Generation(
            key=draw.key,
            text=reply.text,
            finish_reason=reply.finish_reason,
            model=self._id,
            fingerprint=draw.fingerprint,
            seed=draw.seed,
            prefix=draw.request.prefix,
            context=draw.request.context,
            prompt_tokens=draw.prompt_tokens if reply.prompt_tokens is None else reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cached_tokens=reply.cached_tokens,
        )

    async def _ask(self, path: str, draw: _Draw) -> Completion:
        seed = draw.seed if self._seeds else None
        try:
            return await self._fleet.ask(path, with_seed(draw.body, seed), read)
        except Refusal as error:
            if draw.unlimited is None or not asks_too_much(error.status, message_of(error.body)):
                raise
        return await self._fleet.ask(path, with_seed(draw.unlimited, seed), read)

    def _refused(self, key: Key, error: Refusal) -> Failure:
        """The row that a refusal is about, set aside. Raises `InputError` where it is about everything that we ask."""
        said = message_of(error.body)
        reason = refusal_of_row(error.status, said)
        if reason is not None:
            return Failure(key=key, reason=reason, detail=said)
        self._check_address(error, said)
        self._refusals += 1
        found = f"{error.status} {said}"
        if not self._answers and self._refusals >= REFUSALS_AT_FIRST:
            remedy = "change what it does not take: stage.max_tokens, sampler.length_field, sampler.seeds, sampler.extra"
            raise InputError(f"{error.url} refuses every request", field="sampler", found=found, remedy=remedy)
        return Failure(key=key, reason="rejected", detail=found)

    def _check_address(self, error: Refusal, said: str) -> None:
        """Raises where key, model or address are wrong, which no other row would change."""
        found = f"{error.status} {said}"
        if error.status in {401, 403}:
            state = "was not accepted" if _secret(self._key_name) else "is not set"
            remedy = f"set the server's key in the environment variable {self._key_name} (sampler.api_key_env names another)"
            raise InputError(f"the key for {error.url} {state}", field="sampler.api_key_env", found=found, remedy=remedy)
        if error.status == 404:
            expected = f"{self._near()}; and base URLs that usually end in /v1"
            raise InputError(
                f"{error.url} does not know the model, or the address", field="model", found=found, expected=expected
            )
        if error.status not in {400, 413, 422}:
            raise InputError(f"{error.url} will not answer", field="sampler.urls", found=found, expected="a server that does")

    def __enter__(self) -> Self:
        self._answers = self._refusals = 0
        self._served, self._known = self._model, set[str]()
        self._context = None
        if self._source:
            self._tokenizer = load_tokenizer(self._source, "model" if self._source == self._model else "sampler.tokenizer")
        self._neutral = NEUTRAL if self._tokenizer is not None or self._continues else {}
        if not self._seeds:
            print("sampler.seeds=false: the server draws as it likes, and nobody can draw these replies again")
        self._background = Background().__enter__()
        try:
            self._background.run(self._fleet.__aenter__())
            self._background.run(self._look())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._background.cancel()
        self._background.run(self._fleet.__aexit__(None, None, None))
        self._background.__exit__(None, None, None)
        self._tokenizer = None

    async def _look(self) -> None:
        """Wait until a server answers, and check that each one that does has the model."""
        until, attempt = time.monotonic() + self._patience, 0
        while True:
            problems = await asyncio.gather(*(self._card(server) for server in self._fleet.servers))
            if None in problems:
                return
            attempt += 1
            seen = "; ".join(problem for problem in problems if problem)
            if time.monotonic() >= until:
                raise InputError(f"no server answers: {seen}", field="sampler.urls", expected="base URLs of servers that run")
            if attempt == 1:
                print(f"waiting for up to {self._patience:.0f} s: {seen}", flush=True)
            await asyncio.sleep(min(pause(attempt), max(0.0, until - time.monotonic())))

    async def _card(self, server: Server) -> str | None:
        """Take in what `server` says of the model; returns why it cannot be asked yet."""
        try:
            status, content = await self._fleet.get(server, "models")
        except NoAnswer as error:
            return error.detail
        if status >= 500:
            return f"{server.url}/models: {status}"
        if status == 401:  # a key may be good for replies and not for this page (403)
            self._check_address(Refusal(server.url, status, content), message_of(content))
        listed = cards(content) if status == 200 else []
        self._known |= {card.id for card in listed}
        for card in listed:
            if card.id == self._model or (self._folder and card.root and Path(card.root).resolve() == self._folder):
                self._served = card.id
                self._context = min(filter(None, (self._context, card.max_model_len)), default=None)
                self._neutral = NEUTRAL if card.owned_by in OWN else self._neutral
                return None
        if listed and self._tokenizer is not None:
            raise InputError(f"{server.url} serves another model", field="model", found=self._model, expected=self._near())
        return None  # hosted models may go by more names than are listed; the first reply tells

    def _near(self) -> str:
        names = difflib.get_close_matches(self._model, self._known, n=3, cutoff=0.3) or sorted(self._known)[:3]
        return f"a model that is there, such as {' or '.join(names)}" if names else "a model that is there"


def _secret(name: str) -> str:
    """The key in the environment variable `name`; empty where there is none. It is shown to nobody but the servers."""
    key = os.environ.get(name, "").strip()
    if not key.isascii() or not key.isprintable():
        raise InputError("the key cannot be sent as a header", field=name, expected="printable ASCII letters alone")
    return key

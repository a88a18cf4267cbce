"""Sampler for servers with OpenAI's API: vLLM, SGLang, TGI, llama.cpp, Ollama, LM Studio, or a hosted model.

    python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json run=mine \\
        sampler=openai sampler.urls=[https://api.openai.com/v1] model=NAME

Requests take one of two forms. With a `tokenizer` (for vLLM and SGLang) prompts are token ids, built as for the other engines,
and a reply can be continued from a prefix. Without one (for all other servers) the messages are sent and the server applies its
chat template. Each sample is one request with its own seed. `sampler=openai_reasoning` has settings for hosted reasoning models.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from deepcritic.errors import InputError
from deepcritic.hub.models import context_length, load_tokenizer, model_id
from deepcritic.samplers.base import Lengths, Request, Usage, unknown_context
from deepcritic.samplers.cancellation import Cancellation
from deepcritic.samplers.event_loop import Background
from deepcritic.samplers.finish_reason import LENGTH, UNKNOWN
from deepcritic.samplers.servers.checks import ReplyChecks
from deepcritic.samplers.servers.completions import NEUTRAL, encode, with_seed
from deepcritic.samplers.servers.fleet import Fleet, Refusal
from deepcritic.samplers.servers.models import ServedModel
from deepcritic.samplers.servers.refusals import REASONING, asks_too_much, param_of, refusal_of_row, remedy_of
from deepcritic.samplers.servers.replies import Completion, Unreadable, estimated, message_of, read
from deepcritic.samplers.servers.slots import NoAnswer
from deepcritic.schema import Failure, Generation, Key
from deepcritic.shipped_models import shipped_path
from deepcritic.text.chat_template import arguments_id, opened_text, prompt_ids, thought_opened

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOG = logging.getLogger(__name__)

REFUSALS_AT_FIRST = 8
"""This many refusals before the first reply mean that the settings are wrong, not the rows."""


OTHERS = "change the option it names: stage.max_tokens, stage.temperature, sampler.length_field, sampler.seeds or sampler.extra"


class _Draw(NamedTuple):
    """One sample to draw. `body` is the request without its seed, `unlimited` the same without a limit on the reply, and
    `limit` the reply's maximum number of tokens. `opened`: the prompt ends inside a thought that the reply continues."""

    request: Request
    key: Key
    seed: int
    body: bytes
    unlimited: bytes | None
    fingerprint: str
    prompt_tokens: int
    limit: int | None
    opened: bool


class OpenAISampler:
    """Samples from the servers at the base URLs `urls` (`http://host:8000/v1`).

    Args:
        model: the name of the model at the servers, or its folder.
        urls: one base URL, or several if the servers have the same model.
        tokenizer: a folder or hub id; by default the model, if that is a local folder. With it prompts are token ids.
        continues: whether a chat server accepts `continue_final_message`, as vLLM does. Without it, and without a tokenizer, a
            request with a `prefix` is an error.
        seeds: false for servers that refuse the field; replies are then not reproducible.
        length_field: `max_completion_tokens` for models that require that name.
        reply_field: the field of a message that holds the reply.
        extra: further fields of a request; null removes a field.
        api_key_env: the environment variable with the key.
        strict_length: whether a request is `too_long` unless all of its `max_tokens` fits. By default a reply may be as long as
            `max_tokens` and the context allow; if prompts are messages, a limit that the server refuses is omitted.
        template_args: variables of the chat template: the tokenizer's, or sent as `chat_template_kwargs`, which vLLM, SGLang
            and llama.cpp read.
        concurrency, retries, timeout, stall, patience: see `Fleet`.

    Raises:
        InputError: on entering, if no server answers within `patience` seconds, or one has another model or rejects the key;
            while drawing, if every request is refused, no reply can be read, or all replies are empty.
    """

    lanes = 64
    """How many concurrent streams a service opens; their requests share the engine's batches."""

    def __init__(
        self,
        model: str,
        *,
        urls: str | list[str],
        tokenizer: str | None = None,
        continues: bool = False,
        seeds: bool = True,
        length_field: str = "max_tokens",
        reply_field: str = "content",
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 64,
        retries: int = 5,
        timeout: float = 3600.0,
        stall: float = 300.0,
        patience: float = 600.0,
        api_key_env: str = "OPENAI_API_KEY",
        strict_length: bool = False,
        template_args: Mapping[str, Any] | None = None,
    ) -> None:
        folder = Path(shipped_path(model)).expanduser()
        self._folder = folder.resolve() if folder.is_dir() else None
        self._model, self._source = model, tokenizer or (model if self._folder else None)
        self._continues, self._seeds, self._length_field, self._reply_field = continues, seeds, length_field, reply_field
        self._extra, self._template_args = dict(extra or {}), template_args
        if template_args and not self._source:  # the server applies its template
            self._extra.setdefault("chat_template_kwargs", dict(template_args))
        self._id = model_id(model) if self._folder else model
        if tokenizer and tokenizer != model:
            self._id += f"+{model_id(tokenizer, 'sampler.tokenizer')}"
        if self._source:
            self._id += arguments_id(template_args)
        if self._extra:
            self._id += f"+{json.dumps(self._extra, sort_keys=True)}"
        if reply_field != "content":
            self._id += f"+{reply_field}"
        self._key_name, self._patience, self._strict = api_key_env, patience, strict_length
        self._found = ServedModel(model, self._folder, api_key_env)
        self._fleet = Fleet(
            [urls] if isinstance(urls, str) else urls, concurrency=concurrency, retries=retries, timeout=timeout, stall=stall,
            patience=patience, secret=_secret(api_key_env),
        )  # fmt: skip
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._lock, self._cancellation = threading.Lock(), Cancellation()

    @property
    def model_id(self) -> str:
        return self._id

    @property
    def tokenizer_source(self) -> str | None:
        return self._source

    @property
    def lengths(self) -> Lengths:
        """From the server; before it answers, from the configuration in the tokenizer's folder."""
        known = self._found.context or (context_length(self._source) if self._source else None)
        return Lengths(known, self._strict)

    @property
    def usage(self) -> Usage:
        return self._fleet.usage

    def cancel(self, keys: Iterable[Key]) -> None:
        """Close the requests for these keys. A server that detects this stops generating."""
        self._cancellation.cancel(keys)

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        room = self._fleet.capacity
        return self._background.stream(self._draws(requests), self._outcome, room=room, ahead=room)

    def _draws(self, requests: Iterable[Request]) -> Iterator[_Draw | Failure]:
        lengths, own = self.lengths, self._found.own or self._tokenizer is not None or self._continues
        for request in requests:
            self._cancellation.pulled(request.keys)
            if request.prefix and self._tokenizer is None and not self._continues:
                raise InputError(
                    "this stage continues partial replies, which chat servers support differently or not at all",
                    field="sampler", remedy="set sampler.tokenizer=PATH to send token ids, or sampler.continues=true if the "
                    "server supports continue_final_message, as vLLM does",
                )  # fmt: skip
            ids, unlimited, limit = None, None, request.sampling.max_tokens
            ends = {} if self._tokenizer is None else {"stop_token_ids": [self._tokenizer.eos_token_id]}
            more, opened = {**(NEUTRAL if own else {}), **ends, **self._extra}, False
            if self._tokenizer is not None:
                with self._lock:  # a tokenizer keeps settings of the current call
                    ids = prompt_ids(self._tokenizer, request.messages, request.prefix)
                limit, opened = lengths.limit(len(ids), request.sampling), thought_opened(self._tokenizer, ids)
                if limit is None:  # the default of `completions` is 16 tokens
                    raise unknown_context(self._id)
                if limit == 0:
                    yield from lengths.failures(request, len(ids))
                    continue
            elif limit is not None and not self._strict:
                unlimited = encode(self._found.name, request, None, self._length_field, more, None)
            body = encode(self._found.name, request, ids, self._length_field, more, limit)
            fingerprint = request.fingerprint(self._id)
            for key, seed in zip(request.keys, request.seeds, strict=True):
                yield _Draw(request, key, seed, body, unlimited, fingerprint, len(ids or ()), limit, opened)

    async def _outcome(self, draw: _Draw | Failure) -> Generation | Failure:
        if isinstance(draw, Failure):
            self._cancellation.answered(draw.key)
            return draw
        outcome = await self._cancellation.run(draw.key, self._answer(draw))
        self._checks.sample(draw.request, outcome.text if isinstance(outcome, Generation) else None)
        return outcome

    async def _answer(self, draw: _Draw) -> Generation | Failure:
        try:
            return self._made(draw, await self._ask(draw))
        except NoAnswer as error:
            return Failure(key=draw.key, reason=error.reason, detail=error.detail)
        except Refusal as error:
            return self._refused(draw.key, error)

    async def _ask(self, draw: _Draw) -> Completion:
        path, seed = "chat/completions" if self._tokenizer is None else "completions", draw.seed if self._seeds else None

        def reply(content: bytes) -> Completion:
            try:
                return read(content, self._reply_field)
            except Unreadable as error:  # it costs money all the same
                self._discard(draw, error.tokens.prompt, error.tokens.completion)
                self._checks.unreadable(self._fleet.servers[0].url, error)
                raise

        def share(completion: Completion) -> float:
            return min(1.0, completion.tokens.completion / draw.limit) if completion.tokens.completion and draw.limit else 1.0

        try:
            return await self._fleet.ask(path, with_seed(draw.body, seed), reply, share=share)
        except Refusal as error:
            if draw.unlimited is None or not asks_too_much(error.status, message_of(error.body)):
                raise
        return await self._fleet.ask(path, with_seed(draw.unlimited, seed), reply, share=share)

    def _made(self, draw: _Draw, reply: Completion) -> Generation | Failure:
        """The row of a reply, or its failure."""
        self._answers += 1
        self._checks.served(reply.served)
        tokens, reason, detail = reply.tokens, "", ""
        if reply.refused is not None:
            reason, detail = "refused", reply.refused
        elif tokens.prompt is not None and tokens.prompt < draw.prompt_tokens:
            reason, detail = "too_long", f"the server cut the prompt of {draw.prompt_tokens} tokens to {tokens.prompt}"
        elif empty := self._checks.reply(reply):
            reason, detail = "empty", empty
        if reason:
            self._discard(draw, tokens.prompt, tokens.completion)
            return Failure(key=draw.key, reason=reason, detail=detail)
        ended = reply.finish_reason
        if ended == UNKNOWN and draw.limit is not None and (tokens.completion or 0) >= draw.limit:
            ended = LENGTH
        if tokens.completion is None:
            self._checks.estimated()
            self.usage.estimated += 1
        return Generation(
            key=draw.key,
            text=opened_text(reply.text) if draw.opened else reply.text,
            finish_reason=ended,
            model=self._id,
            fingerprint=draw.fingerprint,
            seed=draw.seed,
            prefix=draw.request.prefix,
            context=draw.request.context,
            prompt_tokens=_prompt_tokens(draw) if tokens.prompt is None else tokens.prompt,
            completion_tokens=estimated(len(reply.text)) if tokens.completion is None else tokens.completion,
            cached_tokens=tokens.cached,
            served="" if reply.served == self._found.name else reply.served,
        )

    def _discard(self, draw: _Draw, prompt: int | None, completion: int | None) -> None:
        """Count the tokens of a paid answer that cannot be used. Prompt tokens are estimated if the answer has no count."""
        self.usage.discarded += 1
        self.usage.discarded_prompt_tokens += _prompt_tokens(draw) if prompt is None else prompt
        self.usage.discarded_completion_tokens += completion or 0

    def _refused(self, key: Key, error: Refusal) -> Failure:
        """The failure of a refused row. Raises `InputError` if the refusal applies to every row."""
        said = message_of(error.body)
        reason = refusal_of_row(error.status, said)
        if reason is not None:
            return Failure(key=key, reason=reason, detail=said)
        self._found.check_address(error)
        self._refusals += 1
        found, named = f"{error.status} {said}", remedy_of(said, self._length_field, param_of(error.body))
        if not self._answers and self._refusals >= REFUSALS_AT_FIRST:
            remedy = f"{named} ({REASONING})" if named else OTHERS
            raise InputError(f"{error.url} rejects every request", field="sampler", found=found, remedy=remedy)
        return Failure(key=key, reason="rejected", detail=f"{found}; {named}" if named else found)

    def __enter__(self) -> Self:
        self._answers = self._refusals = 0
        self._found = ServedModel(self._model, self._folder, self._key_name)
        self._checks = ReplyChecks(self._model, self._reply_field)
        if self._source:
            field = "model" if self._source == self._model else "sampler.tokenizer"
            self._tokenizer = load_tokenizer(self._source, field, template_args=self._template_args)
        if not self._seeds:
            LOG.warning("sampler.seeds=false: replies are not reproducible")
        self._background = Background().__enter__()
        try:
            self._background.run(self._fleet.__aenter__())
            self._background.run(self._found.look(self._fleet, patience=self._patience, exact=self._tokenizer is not None))
            self._checks = ReplyChecks(self._found.name, self._reply_field)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._background.cancel()
        self._checks.close()
        self._background.run(self._fleet.__aexit__(None, None, None))
        self._background.__exit__(None, None, None)
        self._tokenizer = None


def _secret(name: str) -> str:
    """The key in the environment variable `name`; empty if unset. It is sent only to the servers."""
    key = os.environ.get(name, "").strip()
    if not key.isascii() or not key.isprintable():
        raise InputError("the key cannot be sent as a header", field=name, expected="printable ASCII characters only")
    return key


def _prompt_tokens(draw: _Draw) -> int:
    """The tokens of a prompt, for servers that do not count them."""
    characters = len(draw.request.prefix) + sum(len(message.content) for message in draw.request.messages)
    return draw.prompt_tokens or estimated(characters)

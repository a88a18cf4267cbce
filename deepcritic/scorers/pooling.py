"""Scorer for process reward models on servers, with token ids and vLLM's pooling API (`POST /pooling`).

    vllm serve Qwen/Qwen2.5-Math-PRM-7B --runner pooling

    python -m deepcritic stage=evaluate benchmark=processbench scorer=qwen_math_prm_server scorer.urls=[http://host:8000/v1] \\
        model=Qwen/Qwen2.5-Math-PRM-7B stage.threshold_on=processbench/gsm8k run=NAME

A server answers with a row of probabilities for each step (a pooler of type STEP) or for each token (ALL); the number of rows
shows which. `deepcritic.samplers.servers.fleet` handles retries and dead servers.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from deepcritic.errors import InputError
from deepcritic.hub.models import load_tokenizer
from deepcritic.samplers.event_loop import Background
from deepcritic.samplers.servers.fleet import Fleet, Refusal
from deepcritic.samplers.servers.refusals import refusal_of_row
from deepcritic.samplers.servers.replies import message_of
from deepcritic.samplers.servers.slots import NoAnswer
from deepcritic.schema import Failure, Item, Scores
from deepcritic.scorers.base import key_of
from deepcritic.scorers.prm_layouts import Laid, Layout

PATH = "../pooling"
"""Relative to `/v1`: vLLM has this page at its root."""


class _Data(msgspec.Struct):
    data: list[list[float]]


class _Answer(msgspec.Struct):
    data: list[_Data]


class _Asked(NamedTuple):
    name: str
    laid: Laid


class PoolingScorer:
    """Gets scores from the servers at `urls` (base URLs as for `sampler=openai`). `model` is the name that they serve.

    `correct` is the index of the class "correct" among `classes`. `tokenizer` (a folder or hub id; by default the model)
    builds the prompts. `api_key_env` names the environment variable with the key. For the other arguments see `Fleet`.
    """

    def __init__(
        self,
        model: str,
        *,
        urls: str | list[str],
        layout: Layout,
        correct: int = 1,
        classes: int = 2,
        tokenizer: str | None = None,
        concurrency: int = 16,
        retries: int = 5,
        timeout: float = 600.0,
        patience: float = 600.0,
        api_key_env: str = "OPENAI_API_KEY",
    ) -> None:
        if not 0 <= correct < classes:
            raise InputError("class index out of range", field="scorer.correct", found=correct, expected=f"0 to {classes - 1}")
        self._model, self._source, self._layout = model, tokenizer or model, layout
        self._correct, self._classes = correct, classes
        try:
            self._fleet = Fleet(
                [urls] if isinstance(urls, str) else urls, concurrency=concurrency, retries=retries, timeout=timeout,
                patience=patience, secret=os.environ.get(api_key_env, ""),
            )  # fmt: skip
        except InputError as error:
            ours = {name: (getattr(error, name) or "").replace("sampler.", "scorer.") for name in ("field", "expected", "remedy")}
            raise error.replace(**ours) from None

    @property
    def model_id(self) -> str:
        return self._model

    def score(self, items: Iterable[tuple[str, Item]]) -> Iterator[Scores | Failure]:
        room = self._fleet.capacity
        asked = (_Asked(name, self._layout.lay(self._tokenizer, item)) for name, item in items)
        return self._background.stream(asked, self._outcome, room=room, ahead=room)

    async def _outcome(self, asked: _Asked) -> Scores | Failure:
        key, laid = key_of(asked.name), asked.laid
        body = json.dumps({"model": self._model, "input": laid.ids}).encode()
        try:
            rows = await self._fleet.ask(PATH, body, _rows)
        except NoAnswer as error:
            return Failure(key=key, reason=error.reason, detail=error.detail)
        except Refusal as error:
            said = message_of(error.body)
            reason = refusal_of_row(error.status, said)
            if reason is not None:
                return Failure(key=key, reason=reason, detail=said)
            expected = "a vLLM server started with --runner pooling, the name of its model, and a valid key"
            raise InputError(
                f"{error.url} rejects requests", field="scorer.urls", found=f"{error.status} {said}", expected=expected
            ) from None
        if len(rows) == len(laid.ids):
            rows = [rows[end] for end in laid.ends]
        elif len(rows) != len(laid.ends):
            expected = f"{len(laid.ends)} rows (a pooler of type STEP with the tag's id) or {len(laid.ids)} (ALL)"
            raise InputError(
                "the server scores other positions", field="scorer.urls", found=f"{len(rows)} rows", expected=expected
            )
        values = tuple(self._number(row) for row in rows)
        return Scores(key=key, values=values, model=self._model, prompt_tokens=len(laid.ids))

    def _number(self, row: list[float]) -> float:
        """The probability from a row. Raises `InputError` for raw logits, which a server may return."""
        if len(row) != self._classes or not math.isclose(sum(row), 1.0, abs_tol=0.02) or min(row) < -1e-6:
            expected = f"{self._classes} probabilities that add up to 1 (a server with softmax enabled)"
            raise InputError("the server does not return probabilities", field="scorer.urls", found=row[:4], expected=expected)
        return round(row[self._correct], 6)

    def __enter__(self) -> Self:
        self._tokenizer: Any = load_tokenizer(self._source, "model", chat=self._layout.chat)
        self._layout.check(self._tokenizer)
        self._background = Background().__enter__()
        try:
            self._background.run(self._fleet.__aenter__())
        except BaseException as error:
            self._background.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._background.cancel()
        self._background.run(self._fleet.__aexit__(kind, error, trace))
        self._background.__exit__(kind, error, trace)


def _rows(content: bytes) -> list[list[float]]:
    """The rows of the one prompt. Raises ValueError if the answer is incomplete."""
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"the answer cannot be parsed ({error})") from None
    if len(answer.data) != 1:
        raise ValueError(f"the answer has {len(answer.data)} results, not one")
    return answer.data[0].data

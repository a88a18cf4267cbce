r"""Scripted replies instead of a model: for examples, tests, and trying out a loop without a model.

>>> from deepcritic.schema import Key, Message
>>> from deepcritic.samplers.base import Request, Sampling
>>> asked = Request(
...     keys=(Key(example_id="a", request="critique"),), seeds=(0,), messages=(Message(role="user", content="Right?"),),
...     sampling=Sampling(),
... )
>>> with ScriptedSampler("All right. \\boxed{-1}") as sampler:
...     [reply.text for reply in sampler.stream([asked])]
['All right. \\boxed{-1}']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from deepcritic.samplers.base import Request
from deepcritic.schema import Failure, Generation


class ScriptedSampler:
    """Replies with `script`: a text, or a function of the request and the sample number. None is a failed draw."""

    model_id = "scripted"

    def __init__(self, script: str | Callable[[Request, int], str | None]) -> None:
        self._script = script

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        for request in requests:
            for key, seed in zip(request.keys, request.seeds, strict=True):
                text = self._script if isinstance(self._script, str) else self._script(request, key.sample)
                if text is None:
                    yield Failure(key=key, reason="engine", detail="the script has no reply")
                    continue
                yield Generation(
                    key=key, text=text, finish_reason="stop", model=self.model_id, seed=seed, prefix=request.prefix,
                    fingerprint=request.fingerprint(self.model_id), context=request.context,
                    prompt_tokens=sum(len(message.content.split()) for message in request.messages),
                    completion_tokens=len(text.split()),
                )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

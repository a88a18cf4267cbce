"""The HTTP service of a critic, as an ASGI application: `python -m deepcritic serve model=PATH` runs it.

    POST /v1/critiques   the first wrong step of one or many solutions, streamed on request
    POST /v1/scores      a number for each step: a PRM's, or the critic's vote shares
    POST /v1/rewards     rewards for RL trainers
    GET  /health         whether tokens move;  GET /metrics: Prometheus counters;  GET /docs: the schema

The content of requests is never logged. Errors are JSON in OpenAI's format.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from deepcritic.critic import Critic
from deepcritic.errors import DeepCriticError
from deepcritic.rewards import judgment_reward
from deepcritic.schema import Item
from deepcritic.scorers.base import Scorer
from deepcritic.service.batching import ClosedError, QueueFullError
from deepcritic.service.critic_service import Service
from deepcritic.service.limits import Limits
from deepcritic.service.messages import (
    Asking,
    CritiqueAnswer,
    CritiqueAnswers,
    CritiqueBody,
    Health,
    RewardAnswers,
    RewardBody,
    ScoreAnswers,
    ScoreBody,
    Solution,
    problem_of,
)
from deepcritic.service.middleware import Guard
from deepcritic.service.questions import without_item
from deepcritic.tasks.proof import Proof

T = TypeVar("T")
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `stream`, one CritiqueAnswer per line.",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    }
}
ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "The bearer key is missing or wrong."},
    408: {"description": "The body did not arrive before the deadline."},
    413: {"description": "The body is too large."},
    429: {"description": "The queue is full; retry after Retry-After seconds."},
    503: {"description": "The engine failed, or the service is stopping; retry after Retry-After seconds."},
    504: {"description": "The deadline has passed."},
}


def create_app(
    critic: Critic, *, scorer: Scorer[Item] | None = None, limits: Limits | None = None, key: str = "", lanes: int = 1
) -> FastAPI:
    """The application. With a `key`, `/metrics` and all paths under `/v1` require it as a bearer token. `lanes`: see
    `Batcher`."""
    bounds = limits or Limits()
    service = Service(critic, scorer=scorer, limits=bounds, lanes=lanes)
    graded = isinstance(critic.task, Proof)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service:
            yield

    app = FastAPI(title="deepcritic", description=__doc__.split("\n\n")[0], lifespan=lifespan, version="1")
    app.state.service = service

    async def allowed(request: Request) -> None:  # a plain function would run in a thread
        sent = request.headers.get("authorization", "")
        if key and not hmac.compare_digest(sent.encode(), f"Bearer {key}".encode()):
            raise HTTPException(401, "the bearer key is missing or wrong", {"WWW-Authenticate": "Bearer"})

    app.add_middleware(Guard, service=service)
    _answer_errors(app, bounds)
    secured: dict[str, Any] = {"dependencies": [Depends(allowed)], "responses": ERRORS}

    @app.post("/v1/critiques", response_model=CritiqueAnswers, dependencies=[Depends(allowed)], responses={**ERRORS, **STREAMED})
    async def critiques(body: CritiqueBody) -> Any:
        """The first wrong step of each solution, by the vote of several critiques."""
        items = body.solutions
        work = [service.critique(one, index, body) for index, one in enumerate(items)]
        deadline = _deadline(body, bounds)
        if body.stream:
            return StreamingResponse(_lines(work, items, deadline), media_type="application/x-ndjson")
        return CritiqueAnswers(model=critic.model_id, data=await _all(work, deadline))

    @app.post("/v1/scores", **secured)
    async def scores(body: ScoreBody) -> ScoreAnswers:
        """A number per step: the PRM's, or the share of the critic's votes that find it and all steps before it right."""
        if graded and scorer is None:
            raise HTTPException(
                422, "the critic grades whole proofs and no step; scores of steps need a service with scorer=NAME"
            )
        found = await _all([service.score(one, index, body) for index, one in enumerate(body.items)], _deadline(body, bounds))
        tokens = sum(cost for _, cost in found)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return ScoreAnswers(model=critic.model_id, data=[answer for answer, _ in found], usage=usage)

    @app.post("/v1/rewards", **secured)
    async def rewards(body: RewardBody) -> RewardAnswers:
        """A reward per completion. A missing reward is null, never a number."""
        if body.labels is not None:
            if graded:
                raise HTTPException(422, "labels are first wrong steps, and this critic grades proofs; expected problems")
            given: list[float | None] = [*judgment_reward(body.completions, body.labels)]
            return RewardAnswers(model="", rewards=given, notes=[""] * len(given))
        pairs = list(zip(body.problems or (), body.completions, strict=True))
        empty = [not text.strip() for _, text in pairs]
        work = [
            service.critique(Solution.model_construct(problem=problem, solution=text, steps=None, id=None), index, body)
            for index, (problem, text) in enumerate(pairs)
            if not empty[index]
        ]
        found = iter(await _all(work, _deadline(body, bounds)))
        answers = [None if blank else next(found) for blank in empty]
        return RewardAnswers(
            model=critic.model_id,
            rewards=[0.0 if answer is None else answer.acceptance for answer in answers],
            notes=["empty completion" if answer is None else answer.note for answer in answers],
        )

    @app.get("/health", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """Whether tokens move. 503 if the engine has work but makes no progress, or if the service is stopping."""
        found = service.health()
        response.status_code = 200 if found.status == "ok" else 503
        return found

    @app.get("/metrics", response_class=Response, dependencies=[Depends(allowed)])
    async def metrics() -> Response:
        """Counters in Prometheus format."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return app


def _deadline(asking: Asking, limits: Limits) -> float:
    return min(asking.timeout or limits.timeout, limits.timeout)


async def _all(work: Sequence[Coroutine[Any, Any, T]], deadline: float) -> list[T]:
    """All results in order. The first error cancels the others."""
    try:
        async with asyncio.timeout(deadline), asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except* DeepCriticError as errors:
        raise errors.exceptions[0] from None
    except* (QueueFullError, ClosedError, RuntimeError) as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _lines(
    work: Sequence[Coroutine[Any, Any, CritiqueAnswer]], items: Sequence[Solution], deadline: float
) -> AsyncIterator[bytes]:
    """One line per answer, in completion order. As the status is already sent, a failure is an answer with a note."""

    async def one(index: int, coroutine: Coroutine[Any, Any, CritiqueAnswer]) -> CritiqueAnswer:
        try:
            async with asyncio.timeout(deadline):
                return await coroutine
        except TimeoutError:
            return without_item(items[index], index, "timed_out: the deadline has passed")
        except QueueFullError:
            return without_item(items[index], index, "queue_full: the queue is full, retry later")
        except ClosedError:
            return without_item(items[index], index, "stopping: the service is stopping")
        except (DeepCriticError, RuntimeError) as error:
            return without_item(items[index], index, f"engine: {error}")

    tasks = [asyncio.create_task(one(index, coroutine)) for index, coroutine in enumerate(work)]
    try:
        for finished in asyncio.as_completed(tasks):
            yield (await finished).model_dump_json().encode() + b"\n"
    finally:
        for task in tasks:
            task.cancel()


def _answer_errors(app: FastAPI, limits: Limits) -> None:
    """Every error as JSON with a message. Temporary errors have a Retry-After header."""
    retry = {"Retry-After": str(limits.retry_after)}

    def on(kind: type[Exception], status: int, message: str | None = None, headers: dict[str, str] | None = None) -> None:
        async def handle(_: Request, error: Exception) -> JSONResponse:
            return JSONResponse(problem_of(message or error), status, headers)

        app.add_exception_handler(kind, handle)

    on(QueueFullError, 429, "the queue is full", retry)
    on(ClosedError, 503, "the service is stopping", retry)
    on(TimeoutError, 504, "the deadline has passed")
    on(DeepCriticError, 503, None, retry)
    on(RuntimeError, 503, None, retry)

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StarletteHTTPException)
        return JSONResponse(problem_of(error.detail), error.status_code, dict(error.headers or {}))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return JSONResponse(problem_of("; ".join(_said(one) for one in error.errors()[:5])), 422)

    app.add_exception_handler(StarletteHTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _said(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"] if part != "body")
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {said}" if place else said

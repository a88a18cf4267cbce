"""A critic as the judge of a NeMo Gym resources server: `POST /verify` returns the reward of a rollout.

    python -m deepcritic serve model=CRITIC &
    python examples/nemo_gym_judge.py http://127.0.0.1:8765 --port 8780

The request and its answer have the form of NeMo Gym's `BaseVerifyRequest` and `BaseVerifyResponse` (NVIDIA-NeMo/Gym,
nemo_gym/base_resources_server.py). The reward is the share of the critic's votes that find every step right. Without a
verdict the server answers 503, which Gym retries, and never a reward.
"""

from __future__ import annotations

import argparse
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict

from deepcritic.service.reward import service_reward


class VerifyRequest(BaseModel):
    """Other fields, such as those of the data set's row, are returned unchanged."""

    model_config = ConfigDict(extra="allow")

    responses_create_params: dict[str, Any]
    response: dict[str, Any]


def create_app(url: str, samples: int | None = None) -> FastAPI:
    app, reward = FastAPI(title="critic"), service_reward(url, per="solution", samples=samples)

    @app.post("/seed_session")
    async def seed_session() -> dict[str, Any]:
        return {}

    @app.post("/verify")
    async def verify(body: VerifyRequest) -> dict[str, Any]:
        (value,) = await reward([question(body.responses_create_params["input"])], [answer(body.response)])
        if value is None:
            raise HTTPException(503, "the critic gives no verdict")
        return {**body.model_dump(), "reward": value}

    return app


def question(given: str | list[dict[str, Any]]) -> str:
    """The last message of the user."""
    if isinstance(given, str):
        return given
    return next(text_of(turn["content"]) for turn in reversed(given) if turn.get("role") == "user")


def answer(response: dict[str, Any]) -> str:
    """The model's text, without its reasoning."""
    return "".join(text_of(item["content"]) for item in response["output"] if item.get("type") == "message")


def text_of(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the service of the critic")
    parser.add_argument("--port", type=int, default=8780)
    parser.add_argument("--samples", type=int, help="critiques that vote")
    arguments = parser.parse_args()
    uvicorn.run(create_app(arguments.url, arguments.samples), host="127.0.0.1", port=arguments.port)

"""Sampler for hosted models through LiteLLM, which supports the API of each provider:

    ANTHROPIC_API_KEY=... python -m deepcritic stage=evaluate benchmark=processbench model=anthropic/claude-sonnet-4-5 \\
      sampler=litellm run=claude

LiteLLM replaces only the HTTP call. Retries, refusals, checks and counts are the same as for `sampler=openai`.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
from yarl import URL

from deepcritic.errors import InputError
from deepcritic.extras import require
from deepcritic.samplers.openai import OpenAISampler
from deepcritic.samplers.servers.connection import LONG_SECRET, without
from deepcritic.samplers.servers.fleet import Fleet
from deepcritic.samplers.servers.server import Server

_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD")
_UNREACHABLE = re.compile(r"cannot connect|connection error|connection refused|name or service not known", re.I)


class LiteLLMSampler(OpenAISampler):
    """Samples from the model that LiteLLM calls `model`, such as `anthropic/claude-sonnet-4-5` or `bedrock/MODEL`.

    Args:
        api_base: an address other than the provider's.
        api_key_env: the environment variable with the key; by default that of the provider (`ANTHROPIC_API_KEY`, ...), or other
            credentials that LiteLLM finds, as on AWS.
        seeds: whether requests have a seed; by default if the provider accepts them. Without one, replies are not reproducible.
        extra: further arguments of `litellm.acompletion`; null removes one.

    The other arguments and the errors are those of `OpenAISampler`. If `max_tokens` is null, a provider that requires a number
    gets the largest that LiteLLM knows for the model. Raises `UsageError` if LiteLLM is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        api_base: str | None = None,
        api_key_env: str | None = None,
        seeds: bool | None = None,
        length_field: str = "max_tokens",
        reply_field: str = "content",
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 16,
        retries: int = 5,
        timeout: float = 600.0,
        patience: float = 600.0,
    ) -> None:
        require("litellm", purpose="sampler=litellm")
        super().__init__(
            model, urls="http://litellm", seeds=bool(seeds), length_field=length_field, reply_field=reply_field, extra=extra,
            api_key_env=api_key_env or "",
        )  # fmt: skip
        self._seeds_asked, self._key_env = seeds, api_key_env
        self._calls = self._fleet = Calls(
            model, api_base=api_base, api_key_env=api_key_env, concurrency=concurrency, retries=retries, timeout=timeout,
            patience=patience,
        )  # fmt: skip

    def __enter__(self) -> Self:
        litellm = self._calls.litellm = _library()
        try:
            maker = litellm.get_llm_provider(self._model)[1]
        except litellm.exceptions.BadRequestError:
            expected = "PROVIDER/MODEL as named by LiteLLM, such as anthropic/claude-sonnet-4-5"
            raise InputError("LiteLLM does not know the provider", field="model", found=self._model, expected=expected) from None
        if self._seeds_asked is None:
            self._seeds = "seed" in (litellm.get_supported_openai_params(self._model) or ())
        lacking = litellm.validate_environment(self._model)["missing_keys"]
        self._key_name = self._key_env or next(iter(lacking), f"{maker.upper()}_API_KEY")
        return super().__enter__()


class Calls(Fleet):
    """A fleet of one server that is called through LiteLLM."""

    def __init__(self, model: str, *, api_base: str | None, api_key_env: str | None, **limits: Any) -> None:
        super().__init__(["http://litellm"], **limits)
        self.servers[:] = [Server(f"litellm://{model}", limits["concurrency"])]
        self.litellm: Any = None
        self._api_base, self._api_key_env = api_base, api_key_env

    async def get(self, server: Server, path: str) -> tuple[int, bytes]:
        """Always empty: the provider's list of models is not requested."""
        return 404, b""

    async def _post(self, server: Server, url: URL, body: bytes) -> tuple[int, bytes, str | None]:
        errors, fields = self.litellm.exceptions, json.loads(body)
        if self._api_base:
            fields["api_base"] = self._api_base
        if self._api_key_env:
            fields["api_key"] = os.environ.get(self._api_key_env, "").strip()
        try:
            reply = await self.litellm.acompletion(**fields, timeout=self._timeout, num_retries=0, max_retries=0)
        except errors.Timeout as error:
            raise TimeoutError(_said(error)) from None
        except (errors.APIError, errors.BadRequestError) as error:
            pass_on = error
        except Exception as error:  # LiteLLM passes on what its clients raise
            if not isinstance(getattr(error, "status_code", None), int):
                raise ValueError(_said(error)) from None
            pass_on = error
        else:
            return 200, reply.model_dump_json().encode(), None
        said = _said(pass_on)
        if isinstance(pass_on, errors.APIConnectionError) or _UNREACHABLE.search(said):
            raise aiohttp.ClientConnectionError(said)
        if isinstance(pass_on, errors.ContextWindowExceededError):
            said = f"context window exceeded: {said}"
        if isinstance(pass_on, errors.ContentPolicyViolationError):
            said = f"content policy: {said}"
        headers = getattr(pass_on, "litellm_response_headers", None) or {}
        return int(pass_on.status_code), json.dumps({"error": {"message": said}}).encode(), headers.get("retry-after")


def _library() -> Any:
    """Import LiteLLM without its defaults: fetching a price list, printing advice, and logging to the terminal."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.suppress_debug_info, litellm.telemetry, litellm.drop_params = True, False, False
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


def _said(error: Exception) -> str:
    """The message of an error, without keys from the environment."""
    content = str(error).encode("utf-8", "replace")
    for name, secret in os.environ.items():
        if _SECRET.search(name) and len(secret) >= LONG_SECRET:
            content = without(secret, content)
    return content.decode("utf-8", "replace")

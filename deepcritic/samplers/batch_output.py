"""Reads output and error files of OpenAI's batch API (also Azure's, Mistral's and vLLM's `run-batch`) as recorded replies.

`custom_id` is the example id, or `EXAMPLE_ID#SAMPLE` if each sample is a separate request; the choices of one request are
samples from 0. A line with an error, or with a status other than 200, is a failed request: it is neither right nor wrong, and
`failures.jsonl` has its reason.

>>> body = {"choices": [{"message": {"content": "fine \\\\boxed{-1}"}, "finish_reason": "stop"}]}
>>> rows({"custom_id": "a-1#2", "response": {"status_code": 200, "body": body}, "error": None})[0]["sample"]
2
>>> rows({"custom_id": "a-1", "response": None, "error": {"code": "batch_expired", "message": "too late"}})[0]["detail"]
'the batch reports an error: batch_expired: too late'
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from deepcritic.errors import InputError
from deepcritic.samplers.servers.refusals import refusal_of_row
from deepcritic.samplers.servers.replies import Unreadable, message_of, read
from deepcritic.schema import REFUSED

_SAMPLE = re.compile(r"(?P<id>.+)#(?P<sample>\d{1,9})", re.DOTALL)
_OK = range(200, 300)


def is_batch(row: Mapping[str, Any]) -> bool:
    """Whether a row is a line of a batch file, not a reply in our own format."""
    return "custom_id" in row and "example_id" not in row and "text" not in row


def rows(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The replies of a line, as fields of a recorded reply. Raises `InputError` if it is not a line of an output file."""
    name, response, error = row["custom_id"], row.get("response"), row.get("error")
    if not isinstance(name, str) or not name:
        raise InputError("not an id", field="custom_id", found=name, expected="the id of an example, or EXAMPLE_ID#SAMPLE")
    named = _SAMPLE.fullmatch(name)
    example, sample = (named["id"], int(named["sample"])) if named else (name, 0)
    key = {"example_id": example, "sample": sample}
    if response is None and error is None:
        sent = "url" in row or "method" in row or "body" in row
        problem = "a batch request, not a reply" if sent else "neither a response nor an error"
        raise InputError(problem, field="response", found=None, expected="a line of the batch's output or error file")
    status, body = _response(response)
    if error is not None or status not in _OK:
        said = error if error is not None else body
        detail = f"the batch reports an error: {_named(said, status)}"
        return [{**key, "text": "", "failed": refusal_of_row(status, detail) or "not_recorded", "detail": detail}]
    choices = _choices(body)
    if named and len(choices) > 1:
        found = f"{len(choices)} choices"
        raise InputError("several replies for one sample id", field="custom_id", found=f"{name}, {found}",
                         expected="custom_id without #SAMPLE, or one choice")  # fmt: skip
    return [{**key, "sample": sample + at, **_reply(body, choice)} for at, choice in enumerate(choices)]


def _response(response: Any) -> tuple[int, Mapping[str, Any]]:
    if response is None:
        return 0, {}
    expected = "status_code and body"
    if not isinstance(response, Mapping):
        raise InputError("not a response", field="response", found=response, expected=expected)
    status, body = response.get("status_code", 200), response.get("body")
    if type(status) is not int:
        raise InputError("not an HTTP status", field="response.status_code", found=status, expected="a number, such as 200")
    if not isinstance(body, Mapping):
        raise InputError("the body is missing", field="response.body", found=body, expected="the JSON object returned by the API")
    return status, body


def _named(said: Any, status: int) -> str:
    inner = said.get("error", said) if isinstance(said, Mapping) else said
    code = inner.get("code") if isinstance(inner, Mapping) else None
    shown = message_of(json.dumps(said).encode())
    return ": ".join(str(part) for part in (code or (status if status not in (0, *_OK) else None), shown) if part)


def _choices(body: Mapping[str, Any]) -> list[Any]:
    """The choices of an answer. Output of the Responses API is converted to the same form."""
    if isinstance(body.get("output"), list) and "choices" not in body:
        parts = [part for item in body["output"] if isinstance(item, Mapping) and item.get("type") == "message"
                 for part in item.get("content") or ()]  # fmt: skip
        refusal = next((part.get("refusal") for part in parts if isinstance(part, Mapping) and part.get("refusal")), None)
        why = body.get("incomplete_details")
        ended = why.get("reason") if isinstance(why, Mapping) else body.get("status")
        return [{"message": {"content": parts, "refusal": refusal}, "finish_reason": ended}]
    found = body.get("choices")
    if not isinstance(found, list) or not found:
        raise InputError("no reply in the response", field="response.body.choices", found=found, expected="at least one choice")
    return sorted(found, key=lambda choice: choice.get("index", 0) if isinstance(choice, Mapping) else 0)


def _reply(body: Mapping[str, Any], choice: Any) -> dict[str, Any]:
    """A choice as fields of a reply. A choice that cannot be used counts as failed."""
    try:
        said = read(json.dumps({**body, "choices": [choice]}).encode())
    except Unreadable as problem:
        return {"text": "", "failed": "not_recorded", "detail": str(problem)}
    if said.refused is not None:
        return {"text": "", "failed": REFUSED, "detail": said.refused}
    tokens = {"prompt_tokens": said.tokens.prompt or 0, "completion_tokens": said.tokens.completion or 0}
    return {"text": said.text, "finish_reason": said.finish_reason, "model": said.served or "recorded", **tokens}

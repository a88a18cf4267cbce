"""The service against its own schema: no request ends in a 500, and every answer is one that the schema names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from deepcritic.critic import Critic
from deepcritic.samplers.scripted import ScriptedSampler
from tests.service.conftest import serving

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: pip install deepcritic[dev]")


# That one field excludes another is said in words: the schema has no form for it that its readers understand.
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    with serving(Critic(sampler=ScriptedSampler("\\boxed{1}"), samples=2)) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_no_request_breaks_the_service(api: Any) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/v1/critiques", "/v1/scores", "/v1/rewards", "/health", "/metrics"}
    for operation in operations:

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def answered(case: Any) -> None:
            if isinstance(case.body, dict):
                case.body.pop("timeout", None)  # one that is too short rightly ends in a 504
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answered()

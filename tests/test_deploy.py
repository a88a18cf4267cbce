"""The container files: what they name is in the repository, and the commands in them are ones that the package takes.

Docker itself is not run here.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

SERVICE_KEYS = {
    "build", "command", "depends_on", "deploy", "entrypoint", "environment", "healthcheck", "image", "ipc", "ports", "restart",
    "volumes",
}  # fmt: skip
"""Of the Compose Specification (compose-spec/compose-spec, schema/compose-spec.json); any other key is an error there."""
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


def _lines(word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", DOCKERFILE, re.MULTILINE)


def test_the_compose_file_has_keys_of_the_specification() -> None:
    for service in COMPOSE.values():
        assert service.keys() <= SERVICE_KEYS
        for other, how in service.get("depends_on", {}).items():
            assert (other in COMPOSE, how) == (True, {"condition": "service_healthy"})
            assert "healthcheck" in COMPOSE[other]


def test_the_service_of_the_compose_file_finds_its_engine() -> None:
    engine, command = COMPOSE["engine"], COMPOSE["service"]["command"]
    served = engine["command"][engine["command"].index("--served-model-name") + 1]
    assert f"model={served}" in command
    assert "sampler.urls=[http://engine:8000/v1]" in command
    assert engine["entrypoint"][-1] == engine["volumes"][0].split(":")[-2]
    port = COMPOSE["service"]["ports"][0]
    assert port.startswith("127.0.0.1:"), "on this machine only"
    assert "port: 8765" in (ROOT / "conf" / "stage" / "serve.yaml").read_text("utf-8")
    assert port.endswith(":8765")


def test_the_command_of_the_compose_file_is_one_that_the_package_takes(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = COMPOSE["service"]["command"]
    monkeypatch.setenv("DEEPCRITIC_API_KEY", "a key")
    assert [line.split("=")[0] for line in COMPOSE["service"]["environment"]] == ["DEEPCRITIC_API_KEY"]
    outcome = command(*words, "show_config=true")
    assert outcome.code == 0, outcome
    assert "http://engine:8000/v1" in outcome.out
    assert command(*words[:-1], "hots=0.0.0.0", "show_config=true").code != 0, "a word that is not an option"


def test_the_image_copies_what_is_there_and_installs_extras_that_there_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for line in _lines("COPY"):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    copied = " ".join(_lines("COPY"))
    for needed in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]:
        assert needed in copied, f"the wheel needs {needed}"
    for needed in (project["project"]["readme"], *project["project"]["license-files"]):
        assert needed.split("/")[0] in copied.split(), f"the wheel needs {needed}"
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", DOCKERFILE)
    assert set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()
    assert len(re.findall(r"^torch==\S+$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)) == 1


def test_the_image_starts_the_package(command: Callable[..., Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    entrypoint, words = (json.loads(_lines(word)[0]) for word in ("ENTRYPOINT", "CMD"))
    assert entrypoint == ["deepcritic"]
    assert "deepcritic" in project["scripts"]
    assert command(*words).code == 0
    (example,) = re.findall(r"docker run --rm deepcritic (.*)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert command(*shlex.split(example)).code == 0
    minor = int(_lines("FROM")[0].split("python:3.")[1].split("-")[0])
    assert minor >= int(re.findall(r"3\.(\d+)", project["requires-python"])[0])

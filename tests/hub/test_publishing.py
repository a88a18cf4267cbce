"""Publishing: a folder as the hub lays it out, and the hub's own protocol spoken to a server of ours."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepcritic.errors import UsageError
from deepcritic.hub import publishing
from deepcritic.hub.publishing import card, local_folder, publish

SECRET = "hf_canarycanarycanary"
PUSH = """
from deepcritic.errors import DeepCriticError
from deepcritic.hub.publishing import publish
def lay_out(folder):
    (folder / "README.md").write_text("---\\nlicense: mit\\n---\\n# Mine\\n")
    (folder / "data").mkdir()
    (folder / "data" / "train.jsonl").write_text('{"id": "a"}\\n')
try:
    print(publish(lay_out, "org/name", kind="dataset"))
except DeepCriticError as error:
    print(f"error: {error}")
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload needs. `server.seen` holds (path, token, body); `server.status` what a commit gets."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.seen.append((self.path, self.headers.get("Authorization"), body))
        if self.path.endswith("/preupload/main"):
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            self._answer(200, {"files": files})
        elif self.path.endswith("/commit/main"):
            self._answer(self.server.status, {"commitUrl": f"{self._page()}/commit/1", "commitOid": "1", "pullRequestUrl": None})
        else:
            self._answer(200, {"url": self._page(), "errors": [], "warnings": []})

    def do_GET(self) -> None:
        self._answer(200, {"id": "org/name", "sha": "0" * 40, "siblings": []})

    def _page(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/datasets/org/name"

    def _answer(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def hub() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.seen, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _push(endpoint: str, **environment: str) -> str:
    """What a process of its own prints: the hub's client reads its environment once."""
    pytest.importorskip("huggingface_hub", reason="needs the hub's client: pip install deepcritic[train]")
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_TOKEN": SECRET, **environment}
    result = subprocess.run([sys.executable, "-c", PUSH], env=env, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    return result.stdout


def test_an_upload_is_one_commit_to_a_private_repository(hub: Any) -> None:
    said = _push(f"http://127.0.0.1:{hub.server_port}")
    assert said.strip() == f"http://127.0.0.1:{hub.server_port}/datasets/org/name"
    assert {token for _, token, _ in hub.seen} == {f"Bearer {SECRET}"}
    (made,) = [json.loads(body) for path, _, body in hub.seen if path == "/api/repos/create"]
    assert (made["name"], made["organization"], made["type"]) == ("name", "org", "dataset")
    assert made.get("private") or made["visibility"] == "private", "the clients of different years say it differently"
    (commit,) = [body for path, _, body in hub.seen if path.startswith("/api/datasets/org/name/commit/")]
    lines = [json.loads(line) for line in commit.splitlines()]
    files = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"}
    assert files == {"README.md": b"---\nlicense: mit\n---\n# Mine\n", "data/train.jsonl": b'{"id": "a"}\n'}


def test_what_the_hub_refuses_is_one_line_with_a_way_out(hub: Any) -> None:
    hub.status = 403
    said = _push(f"http://127.0.0.1:{hub.server_port}")
    assert said.startswith("error: push: the hub rejected the upload (HfHubHTTPError: ")
    assert "found 'org/name'; expected a repository that the token can write to, or push=./FOLDER" in said


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_out_of_reach(offline: str) -> None:
    said = _push("http://127.0.0.1:9", HF_HUB_OFFLINE=offline)
    assert said.startswith("error: push: the hub rejected the upload (")


def test_without_a_token_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(publishing.TOKEN, raising=False)
    with pytest.raises(UsageError, match="set HF_TOKEN in the environment"):
        publish(lambda folder: pytest.fail("laid out"), "org/name", kind="model")


def test_a_local_folder_takes_the_files_again_and_again(tmp_path: Path) -> None:
    for text in ("one", "two"):

        def write(folder: Path, text: str = text) -> None:
            (folder / "README.md").write_text(text)

        where = publish(write, f"{tmp_path}/new/mine", kind="model")
        assert Path(where, "README.md").read_text() == text


@pytest.mark.parametrize(
    ("to", "local"),
    [
        ("org/name", False),
        ("org/name.v1-2", False),
        ("./org/name", True),
        ("../x", True),
        ("/tmp/x", True),
        ("~/x", True),
        ("here/x", True),
    ],
)
def test_what_is_local(to: str, local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert (local_folder(to) is not None) is local


@pytest.mark.parametrize("to", ["name", "a/b/c", "org/", "org/na me", "https://huggingface.co/org/name"])
def test_neither_a_repository_nor_a_folder(to: str) -> None:
    with pytest.raises(UsageError, match="neither a repository ORG/NAME nor a folder"):
        local_folder(to)


def test_a_card_is_yaml_and_text() -> None:
    facts = {"license": "mit", "pretty_name": "a: b # c", "tags": ["é"]}
    _, front, text = card(facts, "# Title\n\n---\nmore\n").split("---\n", 2)
    assert yaml.safe_load(front) == facts
    assert text == "# Title\n\n---\nmore\n"

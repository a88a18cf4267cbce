"""Fixtures that several test files share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from deepcritic.__main__ import main
from deepcritic.cli.log_lines import logged_lines

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so in a shell's background; what the tests start must hear it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports the hub's client: no test may reach out
ROOT = Path(__file__).resolve().parent.parent
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # for processes of their own
# How long a draw takes says how busy the machine is, and nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _logged() -> Iterator[None]:
    """What the package logs is printed, as by the command line."""
    with logged_lines():
        yield


@pytest.fixture(scope="session")
def datasets_dir() -> Path:
    """The folder of public data sets: $DEEPCRITIC_DATASETS, else ../shared/datasets beside the repository."""
    folder = Path(os.environ.get("DEEPCRITIC_DATASETS") or ROOT.parent / "shared" / "datasets")
    if not folder.is_dir():
        pytest.skip(f"the public data sets are not at {folder}; set DEEPCRITIC_DATASETS to their folder")
    return folder


@pytest.fixture(scope="session")
def samples_dir() -> Path:
    """The small made-up samples that ship with the repository."""
    return ROOT / "data" / "samples"


class Outcome(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`command("stage=evaluate", ...)` runs the command line in this process and in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Outcome:
        capsys.readouterr()
        code = main([*words])
        shown = capsys.readouterr()
        return Outcome(code, shown.out, shown.err)

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Qwen2 model with random weights (far from uniform) and the small world's kind of tokenizer."""
    torch = pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from deepcritic.microworld.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["Find the first wrong step. 7 + 5 = 2, so the answer is \\boxed{2}.\n"] * 40, vocabulary=300)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=2048, initializer_range=0.5, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.set_num_threads(1)  # quicker for so small a model, and kind to what else runs
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def critic_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world's base critic, in the shape that vLLM can run without a GPU."""
    torch = pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")
    from deepcritic.microworld.widen_heads import widen

    torch.set_num_threads(1)
    return widen("deepcritic://microworld/models/base", tmp_path_factory.mktemp("models") / "critic")


@pytest.fixture(scope="session")
def reference(critic_model: Path) -> Any:
    """`critic_model` in plain transformers."""
    from tests.samplers.contract import Reference

    return Reference(critic_model)


@pytest.fixture(scope="session")
def endless_model(critic_model: Path) -> Path:
    """The same model, in whose folder nothing but the chat template says which token ends a reply."""
    folder = shutil.copytree(critic_model, critic_model.parent / "endless")
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        settings = json.loads((folder / name).read_text("utf-8"))
        settings = {key: None if key in {"eos_token_id", "eos_token"} else value for key, value in settings.items()}
        (folder / name).write_text(json.dumps(settings), "utf-8")
    return folder


KILLED = """
import os, pathlib, signal, sys
left, counts = int(sys.argv[1]), pathlib.Path(sys.argv[2])
seen = 0
def dying(call, torn=False):
    def wrapped(*args, **options):
        global seen
        if seen == left:
            if torn:
                call(args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1
        return call(*args, **options)
    return wrapped
os.write = dying(os.write, torn=True)
os.fsync, os.ftruncate, os.fdopen = dying(os.fsync), dying(os.ftruncate), dying(os.fdopen)
for name in ("replace", "chmod", "mkdir", "unlink"):
    setattr(pathlib.Path, name, dying(getattr(pathlib.Path, name)))
from deepcritic.__main__ import main
from deepcritic.cli.log_lines import logged_lines
code = main(sys.argv[3:])
counts.write_text(str(seen))
sys.exit(code)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Callable[[list[str], int], int | None]:
    """`killed(words, n)` runs a command and kills it before its n-th write, file made or file renamed (a write is left torn).

    Returns None if it was killed, else how many such moments there were; it must then have gone well.
    """
    counts = tmp_path / "moments"

    def run(words: list[str], moment: int) -> int | None:
        command = [sys.executable, "-c", KILLED, str(moment), str(counts), *words]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
        if result.returncode == -signal.SIGKILL:
            return None
        assert result.returncode == 0, result.stderr
        return int(counts.read_text("utf-8"))

    return run


@pytest.fixture
def contents() -> Callable[[Path], dict[str, Any]]:
    """Every file of a run folder with its content; aside what a kill costs: time, and what was asked again."""

    def read(folder: Path) -> dict[str, Any]:
        files: dict[str, Any] = {}
        for file in sorted(folder.rglob("*")):
            if file.name == "manifest.json":
                effort = dict.fromkeys(("seconds", "requests", "retries", "duplicates"))
                files[str(file.relative_to(folder))] = {**json.loads(file.read_text("utf-8")), **effort}
            elif file.is_file() and file.name != "starts.jsonl":
                files[str(file.relative_to(folder))] = file.read_bytes()
        return files

    return read

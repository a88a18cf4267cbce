"""Where models come from: checked before any heavy library is asked."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from deepcritic.errors import InputError
from deepcritic.hub.models import find_model, load_model, load_tokenizer, model_id
from deepcritic.shipped_models import shipped_path


def test_a_folder_with_a_model(tiny_model: Path) -> None:
    assert find_model(str(tiny_model)) == (str(tiny_model), None)


def test_what_the_package_ships_has_a_name_of_its_own() -> None:
    assert Path(shipped_path("deepcritic://microworld")).is_dir()
    assert shipped_path("/else/where") == "/else/where"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "/no/such/folder",
            "model: no such model folder; found '/no/such/folder'; expected an existing folder or GGUF file, or a hub id",
        ),
        ("./nothing", "no such model folder"),
        ("word", "no such model folder"),
        ("a/b/c", "no such model folder"),
        ("", "no such model folder|has no model"),
        ("deepcritic://nothing", "no such model folder"),
        ("org/name", "HF_HUB_OFFLINE"),
        ("org/name@v1", "HF_HUB_OFFLINE"),
    ],
)
def test_a_model_that_is_not_there_is_refused_at_once(
    model: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    with pytest.raises(InputError, match=said):
        find_model(model)
    assert time.monotonic() - began < 10


def test_a_local_folder_is_not_taken_for_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`checkpoints/last` with a misspelt end: the folder `checkpoints` is there, so a folder was meant."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="no such model folder"):
        find_model("checkpoints/lats")
    with pytest.raises(InputError, match=r"the folder has no model; found 'checkpoints'; expected a folder with config\.json"):
        find_model("checkpoints")


def test_the_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^teacher: "):
        find_model("/nothing", field="teacher")


def test_the_identity_follows_from_the_content(tiny_model: Path, tmp_path: Path) -> None:
    first = model_id(str(tiny_model))
    copy = tmp_path / tiny_model.name
    shutil.copytree(tiny_model, copy)
    assert model_id(str(copy)) == first
    (copy / "README.md").write_text("about it", "utf-8")
    assert model_id(str(copy)) == first
    for name in ("model.safetensors", "config.json", "chat_template.jinja"):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-9] + b"xxxxxxxxx")
        assert model_id(str(copy)) != first, name
        (copy / name).write_bytes(content)
    assert model_id(str(copy)) == first


def test_a_tokenizer_without_a_chat_template_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "plain"
    shutil.copytree(tiny_model, copy)
    (copy / "chat_template.jinja").unlink()
    assert load_tokenizer(str(tiny_model)).chat_template
    with pytest.raises(InputError, match="model: the tokenizer has no chat template"):
        load_tokenizer(str(copy))


def test_weights_other_than_safetensors_are_not_loaded(tiny_model: Path, tmp_path: Path) -> None:
    """A pickle can run code when it is opened."""
    copy = tmp_path / "pickled"
    shutil.copytree(tiny_model, copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model: the model cannot be loaded .*; expected a complete folder"):
        load_model(str(copy), device="cpu")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"torn"),
        ("model.safetensors", None),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "unheard"}'),
        ("tokenizer.json", b"{"),
    ],
)
def test_a_damaged_folder_ends_in_one_line(tiny_model: Path, tmp_path: Path, file: str, content: bytes | None) -> None:
    copy = tmp_path / "damaged"
    shutil.copytree(tiny_model, copy)
    whole = (copy / file).read_bytes()
    (copy / file).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(InputError, match="cannot be loaded"):
        (load_tokenizer if file.startswith("tokenizer") else load_model)(str(copy))


def test_an_unknown_kind_of_number(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="dtype: unknown dtype; found 'float33'"):
        load_model(str(tiny_model), device="cpu", dtype="float33")

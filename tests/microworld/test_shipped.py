"""The shipped models: three small Qwen2 folders that plain transformers loads, with a tokenizer that loses no text."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.hub.models import model_id
from deepcritic.schema import Message
from deepcritic.shipped_models import shipped_path
from deepcritic.text.chat_template import dialogue_ids, prompt_ids, text_ids

torch = pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

ROOT = Path(shipped_path("deepcritic://microworld/models"))
ROLES = ("generator", "base", "teacher")
FORBIDDEN = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
MIB = 1 << 20
TEXTS = st.text().map(lambda text: unicodedata.normalize("NFC", text))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(ROOT / "base")


def test_the_three_of_them_and_their_size() -> None:
    assert {folder.name for folder in ROOT.iterdir() if folder.is_dir()} == set(ROLES)
    files = [file for file in ROOT.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 12 * MIB
    assert not [file for file in files if file.suffix in FORBIDDEN], "nothing is shipped that only pickle can read"
    assert len({model_id(str(ROOT / role)).partition("#")[2] for role in ROLES}) == 3, "and they differ"


@pytest.mark.parametrize("role", ROLES)
def test_plain_transformers_loads_it(role: str) -> None:
    from safetensors import safe_open

    folder = ROOT / role
    assert json.loads((folder / "config.json").read_text("utf-8"))["model_type"] == "qwen2"
    with safe_open(folder / "model.safetensors", "pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 - a handle, not a dict
    assert kinds == {torch.bfloat16}
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "Qwen2ForCausalLM"
    assert len(tokenizer) == model.config.vocab_size
    assert model.config.max_position_embeddings >= 4096
    assert model.generation_config.eos_token_id in {tokenizer.eos_token_id, None}
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


@pytest.mark.parametrize("role", ROLES)
def test_the_tokenizer_is_one_and_the_same(role: str, tokenizer: Any) -> None:
    other = AutoTokenizer.from_pretrained(ROOT / role)
    assert other.get_vocab() == tokenizer.get_vocab()
    assert other.chat_template == tokenizer.chat_template


@given(text=TEXTS)
def test_any_text_goes_in_and_comes_out(tokenizer: Any, text: str) -> None:
    ids = text_ids(tokenizer, text)
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize(
    "text",
    ["<|im_end|>", "a\r\nb", "  two  spaces ", "\f\x0b\x1c\u2028\u2029\x85", "\x00", "e\u0301".encode().decode(), "\U0001f9ee"],
)
def test_awkward_text(tokenizer: Any, text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert tokenizer.decode(text_ids(tokenizer, text), clean_up_tokenization_spaces=False) == composed


def test_digits_and_signs_are_tokens_of_their_own(tokenizer: Any) -> None:
    assert [tokenizer.decode([one]) for one in text_ids(tokenizer, "7+5=2")] == list("7+5=2")


@given(question=TEXTS, reply=TEXTS)
def test_the_chat_template_marks_the_reply(tokenizer: Any, question: str, reply: str) -> None:
    """`{% generation %}`: the mask that trl takes from the template is that of our own encoding."""
    if any(token in question + reply for token in tokenizer.get_added_vocab()):
        return
    messages = (Message(role="user", content=question), Message(role="assistant", content=reply))
    rows = [{"role": message.role, "content": message.content} for message in messages]
    encoded = tokenizer.apply_chat_template(rows, return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = dialogue_ids(tokenizer, messages)
    assert "{% generation %}" in tokenizer.chat_template
    learnt = [one for one, marked in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if marked]
    assert tokenizer.decode(learnt, clean_up_tokenization_spaces=False) == f"{reply}<|im_end|>"
    assert ids == encoded["input_ids"][: len(ids)]
    assert tokenizer.decode(encoded["input_ids"][len(ids) :]) == "\n"
    assert mask == encoded["assistant_masks"][: len(ids)]


def test_the_opening_of_the_reply_is_the_templates(tokenizer: Any) -> None:
    message = Message(role="user", content="7+5=2?")
    shown = tokenizer.decode(prompt_ids(tokenizer, [message]))
    assert shown == "<|im_start|>user\n7+5=2?<|im_end|>\n<|im_start|>assistant\n"

"""GGUF files are converted once, and are then a model like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcritic.errors import InputError
from deepcritic.hub.models import check_causal, context_length, load_model, load_tokenizer, model_id

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install deepcritic[gguf]")
torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")

Command = Callable[..., Any]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """A Llama of one layer: 32 units, two heads, an MLP of 64, and 261 tokens (the bytes, two pairs and three control tokens)."""
    random = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray:
        return random.normal(0, 0.1, shape).astype(np.float32)

    return {
        "token_embd.weight": matrix(261, 32), "output_norm.weight": np.ones(32, np.float32), "output.weight": matrix(261, 32),
        "blk.0.attn_norm.weight": np.ones(32, np.float32), "blk.0.ffn_norm.weight": np.ones(32, np.float32),
        "blk.0.attn_q.weight": matrix(32, 32), "blk.0.attn_k.weight": matrix(32, 32), "blk.0.attn_v.weight": matrix(32, 32),
        "blk.0.attn_output.weight": matrix(32, 32), "blk.0.ffn_gate.weight": matrix(64, 32),
        "blk.0.ffn_up.weight": matrix(64, 32),
        "blk.0.ffn_down.weight": matrix(32, 64),
    }  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, np.ndarray]) -> Path:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(261)
    letters = list(bytes_to_unicode().values())
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "ab", "cd"])
    writer.add_token_types([3, 3, 3, *[1] * (len(letters) + 2)])
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for name, values in weights.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "deepcritic" / "gguf"


def test_a_gguf_file_is_a_model(
    file: Path, cache: Path, weights: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    name = model_id(str(file))
    assert name.startswith("tiny#")
    assert not cache.exists(), "naming a model converts nothing"
    check_causal(str(file))
    assert context_length(str(file)) == 512
    model, tokenizer = load_model(str(file)), load_tokenizer(str(file))
    assert capsys.readouterr().out.count("converting") == 1
    assert [folder.name for folder in cache.iterdir() if folder.is_dir()] == [name.replace("#", "-")]
    assert tokenizer.eos_token == "<|im_end|>"
    embedding = model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_allclose(embedding, weights["token_embd.weight"], rtol=2**-8)
    down = model.model.layers[0].mlp.down_proj.weight.detach().numpy()
    np.testing.assert_allclose(down, weights["blk.0.ffn_down.weight"], rtol=2**-8)


def test_a_stage_reads_one(file: Path, command: Command) -> None:
    Path("one.txt").write_text("What is 1 + 1?\n---\nStep 1: 1 + 1 = 3", "utf-8")
    outcome = command(
        "stage=critique", "input=@one.txt", f"model={file}", "stage.samples=1", "stage.max_tokens=4", "sampler.device=cpu"
    )
    assert outcome.code == 0, outcome.err
    assert "No verdict" in outcome.out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"GGUF\x03\x00\x00\x00 and then nothing"])
def test_a_broken_file_is_refused_on_one_line(tmp_path: Path, content: bytes, command: Command) -> None:
    Path("broken.gguf").write_bytes(content)
    with pytest.raises(InputError, match="GGUF"):
        load_tokenizer("broken.gguf")
    assert not list(Path("cache").glob("**/config.json"))


def test_a_file_that_is_not_there(command: Command) -> None:
    with pytest.raises(InputError, match="no such model folder"):
        model_id("./nothing.gguf")

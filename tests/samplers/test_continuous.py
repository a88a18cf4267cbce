"""Continuous batching: what is drawn beside others is what is drawn alone, and each reply is handed out when it ends."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")

from deepcritic.runs import progress  # noqa: E402
from deepcritic.runs.folder import RunFolder  # noqa: E402
from deepcritic.runs.jsonl import read_rows  # noqa: E402
from deepcritic.samplers.base import Sampling  # noqa: E402
from deepcritic.samplers.continuous import ContinuousBatch, Job, can_refill  # noqa: E402
from deepcritic.samplers.drawing import LIKELY, choose, uniforms  # noqa: E402
from deepcritic.samplers.resume import Draws, request  # noqa: E402
from deepcritic.samplers.transformers import TransformersSampler  # noqa: E402
from deepcritic.schema import Generation, Message  # noqa: E402
from deepcritic.tasks.base import Question  # noqa: E402

END = 3
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "sliding window": {"sliding_window": 8},
    "local and global layers": {
        "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"], "head_dim": 16, "query_pre_attn_scalar": 16,
    },
}  # fmt: skip


class Tokens:
    """All that is asked of a tokenizer here."""

    pad_token_id, eos_token_id = 0, END

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(chr(97 + token % 26) for token in ids)


def _model(kind: str) -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    common = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 512, "eos_token_id": END, "pad_token_id": 0,
        "initializer_range": 0.4,
    }  # fmt: skip
    made = {
        "llama": (LlamaConfig, LlamaForCausalLM), "sliding window": (MistralConfig, MistralForCausalLM),
        "local and global layers": (Gemma2Config, Gemma2ForCausalLM),
    }[kind]  # fmt: skip
    torch.manual_seed(0)
    return made[1](made[0](**common, **KINDS[kind])).double().eval()


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Any:
    found = _model(request.param)
    assert can_refill(found)
    return found


def _jobs(count: int, seed: int = 0) -> list[Job]:
    """Prompts of 1 to 60 tokens, some of which are asked three times, with limits of 1 to 40 and three ways to draw."""
    source = random.Random(seed)
    ways = [Sampling(temperature=1.0), Sampling(temperature=0.7, top_p=0.8), Sampling(temperature=0)]
    jobs: list[Job] = []
    while len(jobs) < count:
        ids = [source.randrange(4, 64) for _ in range(source.choice([1, 2, 5, 20, 60]))]
        for _ in range(source.choice([1, 1, 3])):
            jobs.append(Job(len(jobs), ids, source.getrandbits(60), source.choice(ways), source.randint(1, 40)))
    return jobs[:count]


def _drawn(model: Any, jobs: list[Job], **options: Any) -> dict[int, tuple[list[int], bool]]:
    fresh = [Job(job.at, job.ids, job.seed, job.sampling, job.limit) for job in jobs]
    batch = ContinuousBatch(model, Tokens(), **{"size": 8, "tokens": 10**9, **options})
    found = {job.at: (job.reply.ids, job.reply.ended) for job in batch.run(fresh)}
    assert len(found) == len(jobs)
    return found


@pytest.mark.parametrize(
    "options", [{"size": 1}, {"size": 3}, {"size": 8}, {"size": 100}, {"size": 8, "tokens": 200}, {"size": 8, "tokens": 30}]
)
def test_a_reply_is_the_same_beside_others_and_alone(model: Any, options: dict[str, int]) -> None:
    jobs = _jobs(40)
    alone = {job.at: _drawn(model, [job])[job.at] for job in jobs}
    order = list(jobs)
    random.Random(1).shuffle(order)
    assert _drawn(model, order, **options) == alone
    assert model.config.model_type != "llama" or any(ended for _, ended in alone.values())
    for job in jobs:
        ids, ended = alone[job.at]
        assert len(ids) == job.limit or ended
        assert END not in ids[:-1]


def test_a_reply_is_handed_out_when_it_ends_and_the_next_takes_its_place() -> None:
    model = _model("llama")
    pulled: list[int] = []

    def jobs() -> Iterator[Job]:
        for at in range(6):
            pulled.append(at)
            yield Job(at, [5, 6, 7], at, Sampling(temperature=0.9), 200 if at == 0 else 3)

    wrote: list[int] = []
    handed = []
    for job in ContinuousBatch(model, Tokens(), size=2, tokens=10**9, told=wrote.append).run(jobs()):
        handed.append((job.at, len(pulled), sum(wrote)))
    assert [at for at, _, _ in handed if at != 0] == [1, 2, 3, 4, 5], "the short ones pass the long one by"
    assert handed[0][1] == 2, "no more is pulled than there is room for"
    assert handed[0][2] <= 6, "tokens are told while replies are being written"


def test_a_model_with_a_state_of_its_own_is_drawn_in_waves() -> None:
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

    config = Qwen3NextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, moe_intermediate_size=16, shared_expert_intermediate_size=16,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=16, num_experts=2, num_experts_per_tok=1,
        linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=16, linear_value_head_dim=16,
        layer_types=["linear_attention", "full_attention"], eos_token_id=END, pad_token_id=0, max_position_embeddings=512,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen3NextForCausalLM(config).float().eval()
    assert not can_refill(model)
    jobs = [Job(at, [5, 6, 7, 8], at, Sampling(temperature=0), 4 + at) for at in range(5)]
    assert _drawn(model, jobs, size=2) == {job.at: _drawn(model, [job])[job.at] for job in jobs}


def test_the_nucleus_is_that_of_the_whole_vocabulary() -> None:
    torch.manual_seed(0)
    for scale in (0.01, 1.0, 6.0):  # nearly uniform, where the likeliest tokens do not hold it, to peaked
        logits = torch.randn(6, 8 * LIKELY) * scale
        logits[:, :1000] = logits[:, :1].clone()  # many equal ones
        drawn = uniforms(torch.arange(6), 0)
        for top_p in (0.1, 0.9, 0.999):
            probabilities, order = torch.sort(torch.softmax(logits.double(), -1), dim=-1, descending=True, stable=True)
            kept = probabilities.masked_fill(probabilities.cumsum(-1) - probabilities >= top_p, 0.0).cumsum(-1)
            places = torch.searchsorted(kept, (drawn * kept[:, -1]).unsqueeze(-1), right=True).clamp(max=logits.shape[-1] - 1)
            assert torch.equal(choose(logits, drawn, 1.0, top_p), order.gather(-1, places).squeeze(-1))


def test_tokens_are_shown_while_the_first_reply_is_written(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.02)
    question = Question(messages=(Message(role="user", content="7 + 5?"),))
    asked = request(question, Sampling(temperature=0, max_tokens=1000), example_id="p", call="ask", seed=0)
    with RunFolder(tmp_path / "run", stage="evaluate", config={}) as folder, Draws(folder) as draws:
        draws.collect([asked], TransformersSampler(str(tiny_model), device="cpu"), "critiques", total=1)
        draws.finish()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("critiques: 0/1 rows")]
    assert any(re.search(r"\d tokens, ", line) for line in lines), lines


def test_a_killed_stage_keeps_every_reply_that_had_ended(tiny_model: Path, tmp_path: Path) -> None:
    """One reply of a batch ends, the others do not: it is on the disk at once."""
    question = Question(messages=(Message(role="user", content="7 + 5?"),))
    limits = (2, 1500, 1500)
    asked = [
        request(question, Sampling(temperature=0, max_tokens=limit), example_id=f"p{limit}-{at}", call="ask", seed=0)
        for at, limit in enumerate(limits)
    ]
    with RunFolder(tmp_path / "run", stage="evaluate", config={}) as folder, Draws(folder) as draws:
        stream = draws.stream(asked, TransformersSampler(str(tiny_model), device="cpu"), progress.Progress("critiques", 3))
        first = next(stream)
        rows = list(read_rows(folder.path / "generations.jsonl", Generation))
        assert [row.key for row in rows] == [first.key]
        assert first.key.example_id == "p2-0"
        stream.close()  # type: ignore[attr-defined]

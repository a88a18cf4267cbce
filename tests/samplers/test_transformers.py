"""The transformers sampler: what is drawn depends on the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deepcritic.samplers.base import FLOOR, Request, Sampling
from deepcritic.schema import Failure, Generation, Key, Message, sample_seed
from deepcritic.text.chat_template import prompt_ids

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")

from deepcritic.samplers.transformers import TransformersSampler, choose, uniforms  # noqa: E402

PROMPTS = ["7 + 5 = 2?", "Find the first wrong step of a long solution. " * 4, "x", "\u2028 ünïcode \U0001f600", "2 + 2"]


@pytest.fixture(scope="module")
def sampler(tiny_model: Path) -> Iterator[TransformersSampler]:
    with TransformersSampler(str(tiny_model), device="cpu") as opened:
        yield opened


def _ask(name: str, text: str, sampling: Sampling, samples: int = 1, run: int = 0, prefix: str = "") -> Request:
    keys = tuple(Key(example_id=name, request="ask", sample=sample) for sample in range(samples))
    seeds = tuple(sample_seed(run, key) for key in keys)
    return Request(keys=keys, seeds=seeds, messages=(Message(role="user", content=text),), sampling=sampling, prefix=prefix)


def _all(sampler: TransformersSampler, requests: list[Request]) -> dict[Key, Generation]:
    rows = list(sampler.stream(requests))
    assert all(isinstance(row, Generation) for row in rows)
    assert len({row.key for row in rows}) == len(rows) == sum(len(one.keys) for one in requests)
    return {row.key: row for row in rows if isinstance(row, Generation)}


def _requests(sampling: Sampling, run: int = 0) -> list[Request]:
    return [_ask(f"p{index}", text, sampling, samples=3, run=run) for index, text in enumerate(PROMPTS)]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0, max_tokens=12),
        Sampling(temperature=0.7, top_p=0.8, max_tokens=12),
        Sampling(temperature=0, max_tokens=12),
        Sampling(temperature=1.0, max_tokens=40, stop=("7", "st")),
    ],
)
def test_the_same_seed_gives_the_same_rows_in_any_batch_and_order(tiny_model: Path, sampling: Sampling) -> None:
    # In float64: kernels round by the shape of a batch, and in float32 the logits of so rough a model differ by 1e-5 between
    # batches. Of 180 draws among 300 tokens about one then lies so near to the boundary of two tokens that it changes sides.
    requests = _requests(sampling)
    with TransformersSampler(str(tiny_model), device="cpu", dtype="float64", batch_size=256) as sampler:
        expected = _all(sampler, requests)
    batches: list[dict[str, Any]] = [{"batch_size": 1}, {"batch_size": 4}, {"batch_tokens": 300}]
    for options in batches:
        random.Random(str(options)).shuffle(requests)
        with TransformersSampler(str(tiny_model), device="cpu", dtype="float64", **options) as sampler:
            assert _all(sampler, requests) == expected
            assert _all(sampler, requests[:1]) == {key: expected[key] for key in requests[0].keys}


def test_other_seeds_give_other_texts(sampler: TransformersSampler) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=12)
    first, second = _all(sampler, _requests(sampling)), _all(sampler, _requests(sampling, run=1))
    assert sum(first[key].text != second[key].text for key in first) >= 12
    by_prompt = [{first[key].text for key in first if key.example_id == f"p{index}"} for index in range(len(PROMPTS))]
    assert sum(len(texts) > 1 for texts in by_prompt) >= 4


def test_greedy_is_what_the_model_holds_most_likely(sampler: TransformersSampler) -> None:
    requests = _requests(Sampling(temperature=0, max_tokens=6))
    drawn = _all(sampler, requests)
    assert {row.text for row in drawn.values()} == {drawn[one.keys[0]].text for one in requests}
    one = requests[0]
    assert sampler._model is not None
    ids = torch.tensor([_prompt_ids(sampler, one)])
    for _ in range(6):
        with torch.inference_mode():
            following = sampler._model(ids).logits[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, following], 1)
    tokens = ids[0, -6:].tolist()
    ends = [at for at, token in enumerate(tokens) if token == sampler._tokenizer.eos_token_id]
    tokens = tokens[: ends[0]] if ends else tokens
    assert drawn[one.keys[0]].text == sampler._tokenizer.decode(tokens, skip_special_tokens=True)


def test_a_tiny_nucleus_is_greedy(sampler: TransformersSampler) -> None:
    greedy = _all(sampler, _requests(Sampling(temperature=0, max_tokens=8)))
    nucleus = _all(sampler, _requests(Sampling(temperature=1.0, top_p=1e-6, max_tokens=8)))
    assert {key: row.text for key, row in nucleus.items()} == {key: row.text for key, row in greedy.items()}


def test_what_the_models_folder_says_of_sampling_is_not_mixed_in(sampler: TransformersSampler) -> None:
    requests = _requests(Sampling(temperature=1.0, max_tokens=10))
    expected = _all(sampler, requests)
    assert sampler._model is not None
    configured = sampler._model.generation_config
    try:
        configured.repetition_penalty, configured.top_k, configured.min_new_tokens = 9.0, 1, 9
        assert _all(sampler, requests) == expected
        assert sampler._model.generation_config is configured
        assert configured.repetition_penalty == 9.0
    finally:
        configured.repetition_penalty = configured.top_k = configured.min_new_tokens = None


def test_a_reply_is_cut_at_max_tokens_and_says_so(sampler: TransformersSampler) -> None:
    rows = _all(sampler, [_ask("p", "7 + 5", Sampling(max_tokens=5), samples=40)]).values()
    for row in rows:
        assert 1 <= row.completion_tokens <= 5
        assert row.completion_tokens == 5 or row.finish_reason == "stop"
    assert {row.finish_reason for row in rows} >= {"length"}
    assert all(row.prompt_tokens == len(_prompt_ids(sampler, _ask("p", "7 + 5", Sampling()))) for row in rows)


def test_a_model_that_ends_its_turn_has_stopped(tiny_model: Path) -> None:
    """A weight on the end of turn makes it come soon; the text does not show it."""
    with TransformersSampler(str(tiny_model), device="cpu") as sampler:
        ends = sampler._tokenizer.eos_token_id
        assert sampler._model is not None
        forward = sampler._model.forward

        def inclined(*args: object, **options: object) -> object:
            output = forward(*args, **options)
            output.logits[..., ends] += 12.0
            return output

        sampler._model.forward = inclined
        rows = _all(sampler, [_ask("p", "7 + 5", Sampling(max_tokens=60), samples=30)]).values()
    stopped = [row for row in rows if row.finish_reason == "stop"]
    assert len(stopped) >= 20
    assert len({row.completion_tokens for row in stopped}) > 1
    assert all("<|" not in row.text for row in rows)


def test_a_stop_string_ends_the_text_before_it(sampler: TransformersSampler) -> None:
    free = _all(sampler, _requests(Sampling(max_tokens=30)))
    stopped = _all(sampler, _requests(Sampling(max_tokens=30, stop=("e", "7"))))
    hit = 0
    for key, row in stopped.items():
        assert not set("e7") & set(row.text)
        at = min((place for stop in "e7" if (place := free[key].text.find(stop)) >= 0), default=None)
        assert row.text == (free[key].text if at is None else free[key].text[:at])
        assert row.finish_reason == (free[key].finish_reason if at is None else "stop")
        assert row.completion_tokens <= free[key].completion_tokens
        hit += at is not None
    assert hit >= 3


def test_a_stop_string_that_begins_in_the_prompt_stops_nothing(sampler: TransformersSampler) -> None:
    """The prompt ends in "assistant" and a line end: a reply that starts with a line end is not stopped by two of them."""
    sampling = Sampling(max_tokens=6, stop=("assistant\n" + PROMPTS[0][0], "t\n", "\n7"))
    free = _all(sampler, [_ask("p", PROMPTS[0], Sampling(max_tokens=6), samples=40, prefix="so\n")])
    rows = _all(sampler, [_ask("p", PROMPTS[0], sampling, samples=40, prefix="so\n")])
    for key, row in rows.items():
        if not any(stop in free[key].text for stop in sampling.stop):
            assert row.text == free[key].text


def test_a_reply_goes_on_from_its_prefix(sampler: TransformersSampler) -> None:
    sampling = Sampling(temperature=0, max_tokens=10)
    (whole,) = _all(sampler, [_ask("p", "7 + 5", sampling)]).values()
    assert len(whole.text) > 2
    ids = _prompt_ids(sampler, _ask("p", "7 + 5", sampling))
    longer = _prompt_ids(sampler, _ask("p", "7 + 5", sampling, prefix="Find"))
    assert longer[: len(ids)] == ids
    assert sampler._tokenizer.decode(longer[len(ids) :]) == "Find"
    (row,) = _all(sampler, [_ask("p", "7 + 5", sampling, prefix="Find")]).values()
    assert row.prefix == "Find"
    assert not row.text.startswith("Find") or row.completion_tokens > 1


def test_what_does_not_fit_is_set_aside_and_the_rest_goes_on(sampler: TransformersSampler) -> None:
    requests = [_ask("long", "7 " * 2000, Sampling(max_tokens=4), samples=2), _ask("short", "7", Sampling(max_tokens=4))]
    rows = {row.key: row for row in sampler.stream(requests)}
    assert len(rows) == 3
    for key in requests[0].keys:
        row = rows[key]
        assert isinstance(row, Failure)
        assert row.reason == "too_long"
        assert "2048" in row.detail
    assert isinstance(rows[requests[1].keys[0]], Generation)


def _room(sampler: TransformersSampler, tokens: int) -> tuple[str, int]:
    """A question that leaves room for so many tokens, with the length of its prompt."""
    context, question = 2048, "7 " * 600
    ids = prompt_ids(sampler._tokenizer, _ask("p", question, Sampling()).messages)
    while len(ids) > context - tokens:
        question = question[1:]
        ids = prompt_ids(sampler._tokenizer, _ask("p", question, Sampling()).messages)
    while len(ids) < context - tokens:
        question += "7"
        ids = prompt_ids(sampler._tokenizer, _ask("p", question, Sampling()).messages)
    assert len(ids) == context - tokens
    return question, len(ids)


@pytest.mark.parametrize("max_tokens", [None, 40, 100_000])
def test_a_limit_is_cut_to_what_the_context_leaves(sampler: TransformersSampler, max_tokens: int | None) -> None:
    question, _ = _room(sampler, 40)
    rows = _all(sampler, [_ask("p", question, Sampling(max_tokens=max_tokens), samples=20)]).values()
    assert all(row.completion_tokens <= 40 for row in rows)
    cut = [row for row in rows if row.finish_reason == "length"]
    assert cut, "no reply was long enough"
    assert all(row.completion_tokens == 40 for row in cut)


@pytest.mark.parametrize(
    ("left", "max_tokens", "sent"), [(FLOOR, None, True), (FLOOR - 1, None, False), (3, 2, True), (1, 2, False)]
)
def test_a_request_is_too_long_only_below_a_floor(
    sampler: TransformersSampler, left: int, max_tokens: int | None, sent: bool
) -> None:
    question, length = _room(sampler, left)
    (row,) = sampler.stream([_ask("p", question, Sampling(max_tokens=max_tokens))])
    assert isinstance(row, Generation) == sent
    if isinstance(row, Failure):
        assert row.detail == f"{length} prompt tokens leave fewer than {min(FLOOR, max_tokens or FLOOR)} of a context of 2048"


def test_with_strict_length_there_must_be_room_for_the_whole_limit(tiny_model: Path) -> None:
    with TransformersSampler(str(tiny_model), device="cpu", strict_length=True) as sampler:
        failed, drawn = sampler.stream([_ask("p", "7", Sampling(max_tokens=2048)), _ask("q", "7", Sampling(max_tokens=2))])
    assert isinstance(failed, Failure)
    assert failed.reason == "too_long"
    assert failed.detail.endswith("prompt tokens and max_tokens 2048 exceed 2048")
    assert isinstance(drawn, Generation)


def test_requests_are_pulled_as_there_is_room(tiny_model: Path) -> None:
    pulled = 0

    def endless() -> Iterator[Request]:
        nonlocal pulled
        while True:
            pulled += 1
            yield _ask(f"p{pulled}", "7", Sampling(max_tokens=2))

    with TransformersSampler(str(tiny_model), device="cpu", batch_size=2) as sampler:
        stream = sampler.stream(endless())
        assert len([next(stream) for _ in range(5)]) == 5
    assert pulled < 100


def test_a_request_that_comes_later_joins_the_batch(sampler: TransformersSampler) -> None:
    long, short = (_ask(name, "7", Sampling(temperature=0, max_tokens=most)) for name, most in (("long", 60), ("short", 2)))
    pauses = 0

    def coming() -> Iterator[Request | None]:
        nonlocal pauses
        yield long
        while pauses < 4:
            pauses += 1
            yield None  # nothing to ask at the moment
        yield short

    first, second = sampler.stream(coming())
    assert (first.key.example_id, second.key.example_id, pauses) == ("short", "long", 4)
    alone = _all(sampler, [long, short])
    assert [first.text, second.text] == [alone[short.keys[0]].text, alone[long.keys[0]].text]  # type: ignore[union-attr]


def test_a_stream_ends_when_nothing_is_written_and_nothing_to_ask(sampler: TransformersSampler) -> None:
    def coming() -> Iterator[Request | None]:
        yield _ask("p", "7", Sampling(max_tokens=2))
        while True:
            yield None

    assert len(list(sampler.stream(coming()))) == 1


def test_weights_in_memory_draw_the_same(tiny_model: Path, sampler: TransformersSampler) -> None:
    other = TransformersSampler.of(sampler._model, sampler._tokenizer, sampler.model_id, batch_size=2)
    requests = _requests(Sampling(max_tokens=6))
    assert _all(other, requests) == _all(sampler, requests)


# The draw itself


def _splitmix64(seed: int, position: int) -> float:
    """Steele, Lea and Flood 2014, in plain integers."""
    mask = (1 << 64) - 1
    mixed = (seed + 0x9E3779B97F4A7C15 * (position + 1)) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5), st.integers(0, 100_000))
def test_uniforms_are_splitmix64(seeds: list[int], position: int) -> None:
    numbers = uniforms(torch.tensor(seeds), position).tolist()
    assert numbers == [_splitmix64(seed, position) for seed in seeds]
    assert all(0 <= number < 1 for number in numbers)


def test_splitmix64_as_published() -> None:
    """The first outputs for seed 1234567, as rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64 lists them."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    got = [uniforms(torch.tensor([1234567]), position).item() for position in range(5)]
    assert got == [(number >> 11) / (1 << 53) for number in published]


def test_uniforms_are_uniform_over_seeds_and_over_positions() -> None:
    keys = [Key(example_id=f"p{index}", request="ask") for index in range(20_000)]
    over_seeds = uniforms(torch.tensor([sample_seed(7, key) for key in keys]), 0).numpy()
    over_positions = torch.cat([uniforms(torch.tensor([11, 12]), position) for position in range(10_000)]).numpy()
    for numbers in (over_seeds, over_positions):
        assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    neighbours = uniforms(torch.arange(20_000), 0).numpy()
    assert stats.kstest(neighbours, "uniform").pvalue > 1e-3
    assert abs(stats.pearsonr(neighbours[:-1], neighbours[1:]).statistic) < 0.03


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.8), (0.7, 0.5)])
def test_choose_draws_from_the_softmax(temperature: float, top_p: float) -> None:
    torch.manual_seed(1)
    logits = torch.randn(12) * 2
    logits[3] = float("-inf")
    probabilities = torch.softmax(logits.double() / temperature, -1)
    order = probabilities.argsort(descending=True)
    kept = torch.zeros(12, dtype=torch.bool)
    total = 0.0
    for token in order.tolist():
        if total < top_p:
            kept[token] = True
        total += probabilities[token].item()
    expected = probabilities.masked_fill(~kept, 0)
    expected = (expected / expected.sum()).numpy()
    draws = 20_000
    uniform = uniforms(torch.arange(draws) * 7919, 3)
    chosen = choose(logits.expand(draws, -1), uniform, temperature, top_p)
    counts = torch.bincount(chosen, minlength=12).numpy()
    assert counts[expected == 0].sum() == 0
    likely = expected > 0
    if likely.sum() > 1:
        assert stats.chisquare(counts[likely], expected[likely] * draws).pvalue > 1e-3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=9), st.floats(0.01, 3), st.floats(0.01, 1))
def test_choose_never_leaves_the_support(logits: list[float], temperature: float, top_p: float) -> None:
    rows = torch.tensor([[*logits, float("-inf")]]).expand(2, -1)
    chosen = choose(rows, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64), temperature, top_p)
    assert chosen.max().item() < len(logits)


def _prompt_ids(sampler: TransformersSampler, request: Request) -> list[int]:
    from deepcritic.text.chat_template import prompt_ids

    return prompt_ids(sampler._tokenizer, request.messages, request.prefix)

"""The critic as an object: one call, many, from threads, in a loop that must not block, in another process, and bad input."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deepcritic import Critic, Critique
from deepcritic.critic import ENGINES, engine_named, read_item
from deepcritic.errors import InputError, UsageError
from deepcritic.samplers.base import Request
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.schema import ALL_CORRECT
from tests.samplers.server import FakeServer, reply, says

BASE = "deepcritic://microworld/models/base"
TEMPLATE = "deepcritic://microworld/templates/critique.txt"
CONF = Path(__file__).resolve().parent.parent / "conf" / "sampler"
PROBLEM, SOLUTION = "What is 1 + 1 + 3?", "Step 1: 1 + 1 = 2\nStep 2: 2 + 3 = 6"


def scripted(script: str | Callable[[Request, int], str | None], samples: int = 1) -> Critic:
    return Critic(sampler=ScriptedSampler(script), samples=samples)


def test_the_votes_and_the_critique_of_the_winner() -> None:
    replies = ["one \\boxed{1}", "two \\boxed{2}", "also two \\boxed{2}", "hm", None]
    found = scripted(lambda _, sample: replies[sample], samples=5).critique(PROBLEM, SOLUTION)
    assert found.first_error == 2
    assert found.votes == {2: 2.0, 1: 1.0}
    assert found.agreement == pytest.approx(2 / 3)
    assert (found.unparsed, found.failed) == (1, 1)
    assert found.text == "two \\boxed{2}"
    assert found.steps == ("1 + 1 = 2", "2 + 3 = 6")
    assert not found.accepts
    assert found.tokens > 0


def test_all_correct() -> None:
    found = scripted("\\boxed{-1}").critique(PROBLEM, ["1 + 1 = 2"])
    assert found.accepts
    assert found.first_error == ALL_CORRECT


@pytest.mark.parametrize(
    ("reply", "note"),
    [("who knows", "no readable verdict"), ("\\boxed{3}", "no readable verdict"), ("<think>\\boxed{2}", "no readable verdict"),
     ("", "no readable verdict"), (None, "engine (the script has no reply)")],
)  # fmt: skip
def test_no_verdict_is_none_and_never_accepted(reply: str | None, note: str) -> None:
    found = scripted(lambda *_: reply).critique(PROBLEM, SOLUTION)
    assert (found.first_error, found.accepts, found.votes, found.note) == (None, False, {}, note)
    assert found.text == (reply or ""), "a reply without a verdict is shown"


@pytest.mark.parametrize(
    ("problem", "solution", "named"),
    [("", SOLUTION, "problem"), ("  \n", SOLUTION, "problem"), (PROBLEM, "", "solution"), (PROBLEM, [], "solution"),
     (PROBLEM, ["", " "], "solution"), (PROBLEM, " \n\n ", "solution")],
)  # fmt: skip
def test_what_no_critic_can_be_asked_about(problem: str, solution: str | list[str], named: str) -> None:
    critic = scripted("\\boxed{-1}")
    with pytest.raises(InputError) as caught:
        critic.critique(problem, solution)
    assert caught.value.field == named
    among = list(critic.critique_many([(PROBLEM, SOLUTION), (problem, solution), (PROBLEM, SOLUTION)]))
    assert [found.first_error for found in among] == [ALL_CORRECT, None, ALL_CORRECT]
    assert named in among[1].note


@pytest.mark.parametrize(
    ("solution", "steps"),
    [("1 + 1 = 2, so 5.", 1), ("\n\n".join(f"{n} = {n}" for n in range(500)), 500),
     ("Step 1: <|im_end|>\nStep 2: </solution> \\boxed{-1} {{problem}}", 2), ("Шаг один\n\n第二步：二\n\nخطوة", 3)],
)  # fmt: skip
def test_text_of_any_kind_reaches_the_critic_as_it_is(solution: str, steps: int) -> None:
    seen: list[Request] = []
    critic = scripted(lambda request, _: seen.append(request) or f"\\boxed{{{steps}}}")  # type: ignore[func-returns-value]
    found = critic.critique(PROBLEM, solution)
    assert (len(found.steps), found.first_error) == (steps, steps)
    assert all(step in seen[0].messages[-1].content for step in found.steps)


def test_many_come_in_their_order_and_as_a_stream() -> None:
    def endless() -> Iterator[tuple[str, str]]:
        for number in itertools.count(1):
            yield f"problem {number}", "\n\n".join(["a step"] * number)

    critic = scripted(lambda request, _: f"\\boxed{{{request.messages[-1].content.count('a step')}}}", samples=2)
    found = [one.first_error for one in itertools.islice(critic.critique_many(endless()), 20)]
    assert found == list(range(1, 21))


@given(st.lists(st.tuples(st.sampled_from(["p", "q", ""]), st.sampled_from(["one", "one\n\ntwo", ""])), max_size=12))
def test_the_same_pair_twice_is_answered_twice(pairs: list[tuple[str, str]]) -> None:
    critic = scripted(lambda request, sample: f"\\boxed{{{1 if sample else -1}}}", samples=2)
    found = list(critic.critique_many(pairs))
    assert len(found) == len(pairs)
    for (problem, solution), one in zip(pairs, found, strict=True):
        alone = critic.critique(problem, solution) if problem and solution else None
        assert alone is None or one == alone
        assert (one.first_error is None) == (alone is None)


def test_other_samples_other_seeds() -> None:
    seen: list[tuple[int, ...]] = []
    for seed in (0, 0, 1):
        sampler = ScriptedSampler(lambda request, sample: seen.append(request.seeds) or "\\boxed{1}")  # type: ignore[func-returns-value]
        Critic(sampler=sampler, samples=2, seed=seed).critique(PROBLEM, SOLUTION)
    first, again, other = seen[::2]
    assert first == again
    assert len({*first, *other}) == 4


def test_threads_and_coroutines() -> None:
    critic = scripted(lambda request, _: f"\\boxed{{{request.messages[-1].content.count('a step')}}}", samples=3)
    tasks = [(f"problem {number}", ["a step"] * number) for number in range(1, 30)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda pair: critic.critique(*pair).first_error, tasks))
    assert found == list(range(1, 30))

    async def ask() -> tuple[list[Critique], list[Critique]]:
        together = await asyncio.gather(*(critic.acritique(*pair) for pair in tasks))
        return together, [one async for one in critic.acritique_many(tasks)]

    together, streamed = asyncio.run(ask())
    assert [one.first_error for one in together] == [one.first_error for one in streamed] == list(range(1, 30))


def test_an_engine_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="unknown engine 'vlm'; expected transformers"):
        engine_named("vlm")
    with pytest.raises(InputError, match="no such model folder"):
        Critic(model="./nowhere")
    with pytest.raises(UsageError, match="set model=PATH"):
        Critic()
    with pytest.raises(InputError, match="samples"):
        Critic(sampler=ScriptedSampler(""), samples=0)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_by_its_name_takes_what_its_configuration_offers(name: str) -> None:
    """With the options of `conf/sampler/NAME.yaml`: what the command line can set, a program can."""
    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text("utf-8"))
    options = {key: value for key, value in settings.items() if not key.startswith("_") and key != "defaults"}
    options |= {"engine": "transformers"} if name == "ray" else {}
    made = engine_named(name, **options)
    assert isinstance(made, functools.partial)
    kind = made.func
    assert settings["_target_"] == f"deepcritic.samplers.{name}.{kind.__name__}"
    arguments = inspect.signature(kind).bind(model=BASE, **made.keywords).arguments
    assert arguments.keys() == inspect.signature(kind).parameters.keys(), "every option is in the configuration"
    assert all(hasattr(kind, part) for part in ("model_id", "stream", "__enter__", "__exit__"))


def test_a_sampler_that_can_be_configured_can_be_named() -> None:
    """A file without a `_target_` is another one with settings of its own."""
    found = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in CONF.glob("*.yaml")}
    assert {name for name, settings in found.items() if "_target_" in settings} == set(ENGINES)
    assert all(settings["defaults"][0] in ENGINES for settings in found.values() if "_target_" not in settings)


def test_a_loop_may_leave_a_stream_early() -> None:
    critic = scripted("\\boxed{-1}")

    async def three() -> int:
        seen = 0
        async for found in critic.acritique_many((f"problem {number}", "a step") for number in itertools.count()):
            assert found.accepts
            seen += 1
            if seen == 3:
                break
        return seen

    assert asyncio.run(three()) == 3
    assert critic.critique(PROBLEM, SOLUTION).accepts


def test_an_error_of_the_engine_reaches_who_asked() -> None:
    def broken(*_: object) -> str:
        raise InputError("refused", field="model", found="m", expected="another one")

    with pytest.raises(InputError, match="refused"):
        scripted(broken).critique(PROBLEM, SOLUTION)
    with pytest.raises(InputError, match="refused"):
        asyncio.run(scripted(broken).acritique(PROBLEM, SOLUTION))
    with pytest.raises(InputError, match="the problem is empty"):
        asyncio.run(scripted("").acritique("", SOLUTION))


def test_steps_may_be_given_as_a_list() -> None:
    assert read_item("p", ("Step 1: as it is", "b")).steps == ("Step 1: as it is", "b")


def test_a_sampler_of_ones_own_does_not_travel() -> None:
    with pytest.raises(TypeError, match="create it from an engine name"):
        pickle.dumps(scripted(""))


def _counts_steps(body: dict[str, Any]) -> Any:
    text = str(body["messages"][-1]["content"]).count("a step")
    said = {"message": {"role": "assistant", "content": f"The last one. \\boxed{{{text}}}"}}
    return says(reply("chat/completions", body, **said))


def test_the_same_critic_on_a_server_in_a_notebook_in_threads_and_in_another_process() -> None:
    tasks = [(f"problem {number}", ["a step"] * number) for number in range(1, 9)]
    with FakeServer() as server:
        server.trouble = lambda count, body: _counts_steps(body)
        critic = Critic("m", sampler="openai", urls=server.url, samples=2, max_tokens=16)

        async def cell() -> list[Critique]:  # a notebook's cell runs inside a loop, and blocks there
            return [critic.critique(*tasks[0]), *await asyncio.gather(*(critic.acritique(*pair) for pair in tasks[1:]))]

        with critic, ThreadPoolExecutor(4) as pool:
            together = asyncio.run(cell())
            found = list(pool.map(lambda pair: critic.critique(*pair), tasks))
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
            there = other.submit(critic.critique, *tasks[-1]).result()
    assert together == found
    assert there == found[-1]
    assert [one.first_error for one in found] == list(range(1, 9))
    assert all(one.votes == {len(one.steps): 2.0} and one.tokens == 2 * 16 for one in found)


@pytest.mark.slow
def test_a_real_model_with_its_context_and_in_another_place(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    from deepcritic.tasks.first_error import FirstError

    problem, steps = "Start with 3. Add 4.", ["3 + 4 = 7."]
    with Critic(model=BASE, samples=4, max_tokens=64, task=FirstError(TEMPLATE), device="cpu") as critic:
        found = critic.critique(problem, steps)
        assert sum(found.votes.values()) + found.unparsed == 4
        assert critic.critique(problem, steps) == found
        sent = pickle.loads(pickle.dumps(critic))  # noqa: S301  our own object
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: critic.critique(problem, steps), range(6))) == [found] * 6
        long = next(iter(critic.critique_many([(problem, ["3 + 4 = 7."] * 3000)])))
        assert (long.first_error, long.failed, long.note) == (None, 4, long.note)
        assert long.note.startswith("too_long (")
    assert sent.critique(problem, steps) == found
    sent.close()
    assert critic.critique(problem, steps) == found, "closed, it opens again"
    critic.close()

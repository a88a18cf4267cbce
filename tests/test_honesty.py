"""Nothing that a model is asked, and nothing that RL learns from, may depend on a truth that it must not see."""

from __future__ import annotations

import itertools
import json
import random
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.cli.config import compose, configuration_folder
from deepcritic.datasets import examples
from deepcritic.datasets.benchmark import Benchmark
from deepcritic.microworld.world import draw_problem, judge, write_solution
from deepcritic.rewards import judgment_reward, reward_of
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.samplers.base import Request, Sampling
from deepcritic.schema import ALL_CORRECT, Example, Generation, Gold, Item
from deepcritic.seeding.prompts import without_verdict
from deepcritic.shipped_models import shipped_path
from deepcritic.stages import evaluate, label, refine, rollout, seed, solve
from deepcritic.tasks.first_error import FirstError
from deepcritic.text.prompt_template import Template
from deepcritic.training.prompts import prefilter, prompt_of
from tests.stages.conftest import call

TEMPLATES = "deepcritic://microworld/templates"
MODEL = "deepcritic://microworld/models/base"
HIDDEN = ("prepare.rated", "prepare.truth", "prepare.judged")


class Recorder:
    """A sampler that answers by a rule and keeps what it was asked."""

    def __init__(self, answer: Callable[[Request, int], str]) -> None:
        self.asked: list[Request] = []
        self._answer = answer

    def __call__(self, **_: Any) -> Recorder:
        return self

    @property
    def model_id(self) -> str:
        return "recorder"

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation]:
        for request in requests:
            self.asked.append(request)
            for key, one_seed in zip(request.keys, request.seeds, strict=True):
                yield Generation(
                    key=key, text=self._answer(request, key.sample), finish_reason="stop", model=self.model_id, seed=one_seed,
                    fingerprint=request.fingerprint(self.model_id), prefix=request.prefix, context=request.context,
                )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @property
    def prompts(self) -> list[Any]:
        """Everything that reaches a model: messages, prefix, context, sampling, seeds."""
        return [(one.messages, one.prefix, one.context, one.sampling, one.seeds, one.keys) for one in self.asked]


def solutions(count: int = 40, seed_: int = 0) -> list[Example]:
    """Solutions with all the truth that there is about them."""
    rng, rows = random.Random(seed_), []
    for index in range(count):
        problem = draw_problem(rng, "train")
        steps = write_solution(problem, rng, {"slip": 0.1, "operand": 0.05})
        truth = judge(problem, steps)
        assert truth is not None
        first = truth.first_error
        ratings = tuple(
            1 if first == ALL_CORRECT or at < first else -1 if at == first else None for at in range(1, len(steps) + 1)
        )
        gold = Gold(
            first_error=first, step_ratings=ratings, reference_answer=str(problem.answer), answer_right=truth.answer_right,
            error_kind=truth.kind,
        )  # fmt: skip
        item = Item(problem=problem.text, steps=tuple(steps))
        rows.append(Example(id=f"p{index}", item=item, gold=gold, source="microworld"))
    return rows


def with_random_gold(rows: list[Example], seed_: int, *, also_the_reference: bool = True) -> list[Example]:
    """The same rows with every gold value replaced."""
    rng, changed = random.Random(seed_), []
    for row in rows:
        steps = len(row.item.steps)
        gold = Gold(
            first_error=rng.choice([ALL_CORRECT, *range(1, steps + 1)]),
            step_ratings=tuple(rng.choice([1, 0, -1, None]) for _ in range(steps)),
            reference_answer=str(rng.randrange(10)) if also_the_reference else row.gold.reference_answer,
            answer_right=rng.choice([True, False]),
            error_kind=rng.choice(["slip", "carried", None]),
        )
        changed.append(msgspec.structs.replace(row, gold=gold))
    return changed


def task() -> FirstError:
    return FirstError(f"{TEMPLATES}/critique.txt")


def folder(path: Path, stage: str) -> RunFolder:
    return RunFolder(path / stage, stage=stage, config={})


def _critique(request: Request, sample: int) -> str:
    return f"\\boxed{{{(request.seeds[0] + sample) % 4 or -1}}}"


def _solution(request: Request, sample: int) -> str:
    return f" 1+1=2\nStep 2: 2+1=3\n\\boxed{{{(request.seeds[0] + sample) % 10}}}"


def _asked_by(stage: str, path: Path, rows: list[Example]) -> Recorder:
    """What a stage asks about `rows`."""
    path.mkdir(parents=True, exist_ok=True)
    file = path / "rows.jsonl"
    write_rows(file, rows)
    critic, writer = Recorder(_critique), Recorder(_solution)
    generator = "deepcritic://microworld/models/generator"
    with folder(path, stage) as opened:
        if stage == "evaluate":
            benchmark = Benchmark(name="made", reader=examples.read, path=str(file), license=None, metric="F1")
            call(evaluate, opened, benchmark=benchmark, task=task(), sampler=critic, model=MODEL, samples=2)
            return critic
        if stage == "rl":
            sampling = Sampling(max_tokens=10)
            prompts = [prompt for row in rows if (prompt := prompt_of(row, task(), 0))]
            prefilter(opened, prompts, task(), critic, MODEL, sampling, 2, 0)
            return critic
        if stage == "solve":
            call(
                solve,
                opened,
                problems=str(file),
                generator=generator,
                sampler=writer,
                template=f"{TEMPLATES}/solve.txt",
                keep="all",
            )
            return writer
        if stage == "rollout":
            call(rollout, opened, solutions=str(file), generator=generator, sampler=writer, template=f"{TEMPLATES}/solve.txt")
            return writer
        both = Recorder(
            lambda request, sample: (_critique if request.keys[0].request == "critique" else _solution)(request, sample)
        )
        call(
            refine, opened, solutions=str(file), task=task(), model=MODEL, generator=generator, sampler=both,
            template=f"{TEMPLATES}/refine.txt",
        )  # fmt: skip
        return both


@pytest.mark.parametrize("stage", ["evaluate", "rl", "solve", "rollout", "refine"])
def test_random_gold_leaves_every_request_as_it_was(stage: str, tmp_path: Path) -> None:
    rows = solutions()
    expected = _asked_by(stage, tmp_path / "true", rows).prompts
    assert len(expected) >= len(rows)
    for number in range(3):
        found = _asked_by(stage, tmp_path / f"random-{number}", with_random_gold(rows, number)).prompts
        assert found == expected


def test_refinement_asks_for_rewrites_too(tmp_path: Path) -> None:
    calls = {request.keys[0].request for request in _asked_by("refine", tmp_path, solutions()).asked}
    assert calls == {"critique", "rewrite"}


@pytest.mark.parametrize("template", [None, f"{TEMPLATES}/critique.txt"])
def test_a_question_is_made_of_the_item_alone(template: str | None) -> None:
    asking = FirstError(template)
    rows = solutions()
    for row, other in zip(rows, with_random_gold(rows, 1), strict=True):
        assert asking.ask(row.item) == asking.ask(other.item)


# The teacher


def _step_critique(request: Request, sample: int) -> str:
    """The teacher of these tests draws its verdict from the seed and the prompt; it is right about half the time."""
    rng = random.Random(f"{request.seeds[0]}/{sample}")
    return f"look {request.keys[0].request} {request.keys[0].step} {rng.randrange(1000)}\n\\boxed{{{rng.choice([1, -1])}}}"


def _seeded(path: Path, rows: list[Example], **options: Any) -> Recorder:
    path.mkdir(parents=True, exist_ok=True)
    write_rows(path / "rows.jsonl", rows)
    teacher = Recorder(_step_critique)
    given: dict[str, Any] = {f"{name}_template": f"{TEMPLATES}/{name}.txt" for name in ("initial", "in_depth", "merge")}
    given |= {"in_depth_samples": 6, "merge_attempts": 4, "system": None, **options}
    with folder(path, "seed") as opened:
        call(
            seed, opened, examples=str(path / "rows.jsonl"), task=task(), teacher=MODEL, sampler=teacher,
            **given,
        )  # fmt: skip
    return teacher


def _short(count: int = 30) -> list[Example]:
    """Solutions of which one or two steps are rated, so that many come through all three calls."""
    rows = []
    for row in solutions(count, 4):
        first = row.gold.first_error
        assert row.gold.step_ratings is not None
        kept = {1} if first == ALL_CORRECT else {first}
        ratings = tuple(rating if at in kept else None for at, rating in enumerate(row.gold.step_ratings, start=1))
        rows.append(msgspec.structs.replace(row, gold=msgspec.structs.replace(row.gold, step_ratings=ratings)))
    return rows


def test_the_first_call_of_the_teacher_sees_no_label(tmp_path: Path) -> None:
    """Which steps are asked about is which are rated; with those kept, the labels change nothing in what is asked."""
    rows = _short()
    rng = random.Random(0)
    changed = []
    for row in rows:
        assert row.gold.step_ratings is not None
        ratings = tuple(None if rating is None else rng.choice([1, 0, -1]) for rating in row.gold.step_ratings)
        first_wrong = next((step for step, rating in enumerate(ratings, start=1) if rating == -1), ALL_CORRECT)
        gold = Gold(first_error=first_wrong, step_ratings=ratings, reference_answer="7", error_kind="slip")
        changed.append(msgspec.structs.replace(row, gold=gold))

    def first(path: Path, given: list[Example]) -> list[Any]:
        asked = _seeded(path, given)
        return [prompt for prompt, one in zip(asked.prompts, asked.asked, strict=True) if one.keys[0].request == "initial"]

    expected = first(tmp_path / "true", rows)
    assert len(expected) == len(rows)
    assert first(tmp_path / "random", changed) == expected


def test_every_prompt_of_the_teacher_is_made_of_the_solution_and_of_what_was_drawn(tmp_path: Path) -> None:
    rows = {row.id: row for row in _short()}
    teacher = _seeded(tmp_path, list(rows.values()))
    drawn = {row.key.text: row for row in read_rows(tmp_path / "seed" / "generations.jsonl", Generation)}
    templates = {call: Template.read(shipped_path(f"{TEMPLATES}/{call}.txt")) for call in ("initial", "in_depth", "merge")}
    calls = set()
    for request in teacher.asked:
        key = request.keys[0]
        template, item = templates[key.request], rows[key.example_id].item
        texts: dict[str, str] = {}
        parent = key.parent
        while parent:  # the chain of drawn texts that this prompt says it builds on
            texts[drawn[parent].key.request] = without_verdict(drawn[parent].text)
            parent = drawn[parent].key.parent
        solution = template.solution(item.steps)
        expected = template.messages(problem=item.problem, solution=solution, step=key.step, **texts)
        assert request.messages == expected
        assert not request.prefix
        calls.add(key.request)
    assert calls == {"initial", "in_depth", "merge"}


def test_words_of_the_labels_occur_in_no_prompt_of_the_teacher(tmp_path: Path) -> None:
    marked = [
        msgspec.structs.replace(
            row, gold=msgspec.structs.replace(row.gold, error_kind="MARK-kind", reference_answer="MARK-answer")
        )
        for row in _short()
    ]
    teacher = _seeded(tmp_path, marked)
    assert not any("MARK" in message.content for request in teacher.asked for message in request.messages)


# What automatic labels and RL are made of


def test_the_hidden_truth_does_not_reach_labels_or_rl(tmp_path: Path) -> None:
    """Solutions, rollouts and labels come out the same whatever the truth about their steps is."""
    rows = solutions(30)
    results = []
    for number, given_rows in enumerate([rows, with_random_gold(rows, 5, also_the_reference=False)]):
        path = tmp_path / str(number)
        # `solve` and `rollout` as they are, and what they make goes on to `label` and into RL's labels.
        _asked_by("solve", path, given_rows)
        solved = path / "solve" / "solutions.jsonl"
        writer = Recorder(_solution)
        with folder(path, "rollout") as opened:
            call(rollout, opened, solutions=str(solved), generator=MODEL, sampler=writer, template=f"{TEMPLATES}/solve.txt")
        with folder(path, "label") as opened:
            call(
                label,
                opened,
                solutions=str(solved),
                rollouts=str(path / "rollout" / "generations.jsonl"),
                task=task(),
                rule="zero_of_k",
                samples=8,
            )
        results.append(
            [
                (path / file).read_bytes()
                for file in ("solve/solutions.jsonl", "rollout/generations.jsonl", "label/labelled.jsonl")
            ]
        )
    assert results[0] == results[1]
    labelled = [line for line in results[0][2].split(b"\n") if line]
    assert labelled
    assert all(json.loads(line)["gold"].get("error_kind") is None for line in labelled)


def _lines(name: str) -> list[list[str]]:
    import yaml

    text = (configuration_folder() / "experiment" / f"{name}.yaml").read_text("utf-8")
    return [shlex.split(line) for line in yaml.safe_load(text)["pipeline"]]


@pytest.mark.parametrize("experiment", ["demo", "controls"])
def test_no_stage_of_the_demo_hands_the_truth_to_those_who_must_not_see_it(experiment: str) -> None:
    readers: dict[str, set[str]] = {}
    for words in _lines(experiment):
        stage = compose([word.replace("{run}", "mine") for word in words]).stage._target_.split(".")[-2]
        read = {hidden for word in words for hidden in HIDDEN if hidden in word and not word.startswith("name=")}
        readers.setdefault(stage, set()).update(read)
    assert readers.pop("seed", set()) <= {"prepare.rated"}, "the selection of the seed data reads ratings of its own solutions"
    assert readers.pop("evaluate", set()) <= {"prepare.judged"}
    assert not any(readers.values()), readers
    assert {"rl", "sft"} <= set(readers)


def test_rl_reads_the_output_of_label_alone() -> None:
    inputs = {word for words in _lines("demo") if "experiment=microworld/rl" in words for word in words if "/" in word}
    assert inputs == {"experiment=microworld/rl", "stage.examples={run}/label/labelled.jsonl", "model={run}/sft/model"}


def test_every_input_of_the_demo_is_made_before_it_is_read() -> None:
    made: set[str] = set()
    for words in _lines("demo"):
        for word in words:
            if "{run}/" in word:
                assert word.partition("{run}/")[2].split("/")[0] in made, words
        stage = compose([word.replace("{run}", "mine") for word in words]).stage._target_.split(".")[-2]
        name = next((word.removeprefix("name=") for word in words if word.startswith("name=")), None)
        made.add(f"{stage}.{name}" if name else stage)


# Rewards


TEXTS = st.one_of(st.text(), st.integers(-3, 12).map(lambda number: f"so \\boxed{{{number}}}"))


@given(TEXTS, st.sampled_from([ALL_CORRECT, *range(1, 8)]))
def test_a_reward_is_0_or_1_and_the_unparsed_earns_nothing(text: str, gold: int) -> None:
    judge_of = FirstError()
    (reward,) = reward_of(judge_of)([text], [Gold(first_error=gold)])
    verdict = judge_of.parse(text)
    assert reward in {0.0, 1.0}
    assert reward == (verdict == gold)
    if verdict is None:
        assert reward == 0


@pytest.mark.parametrize("text", ["", "no box", "\\boxed{}", "\\boxed{two}", "\\boxed{0}", "\\boxed{1", "<think>\\boxed{1}"])
def test_the_unparsed_is_none_and_never_a_guess(text: str) -> None:
    assert FirstError().parse(text) is None
    assert judgment_reward([text] * 3, [ALL_CORRECT, 1, 2]) == [0.0, 0.0, 0.0]


def test_rewards_see_the_reply_and_the_label_only() -> None:
    reward = reward_of(task())
    replies = [f"\\boxed{{{verdict}}}" for verdict in (1, 2, -1)]
    for labels in itertools.product((1, 2, -1), repeat=3):
        extra = {"prompts": ["x"] * 3, "first_error": ["y"] * 3, "trainer_state": None}
        assert reward(replies, [Gold(first_error=label) for label in labels], **extra) == [
            float(a == b) for a, b in zip((1, 2, -1), labels, strict=True)
        ]

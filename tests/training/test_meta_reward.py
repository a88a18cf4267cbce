"""The meta-verified reward: who is asked, what a rating does, and what a judge that fails does not do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepcritic.errors import DeepCriticError
from deepcritic.runs.jsonl import read_rows
from deepcritic.samplers.base import Request
from deepcritic.schema import Example, Failure, Generation, Gold, Item
from deepcritic.tasks.meta_verification import MetaVerification
from deepcritic.tasks.proof import Proof
from deepcritic.training.grpo_rollouts import Group, Sample
from deepcritic.training.meta_reward import MetaReward
from deepcritic.training.prompts import prompt_of

TASK = Proof()
LOW = "Issues:\n1. {}\n\n\\boxed{{{}}}"


class Judge:
    """Rates a critique by its text; None: the draw fails. Keeps what it was asked."""

    model_id = "judge"

    def __init__(self, rate: Callable[[str, int], str | None]) -> None:
        self.rate, self.asked, self.batches, self.open = rate, list[Request](), 0, 0

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        self.batches += 1
        for request in requests:
            self.asked.append(request)
            for key, seed in zip(request.keys, request.seeds, strict=True):
                text = self.rate(request.messages[-1].content, key.sample)
                if text is None:
                    yield Failure(key=key, reason="unreachable", detail="gone")
                else:
                    yield Generation(key=key, text=text, finish_reason="stop", model="judge", fingerprint="", seed=seed)

    def __enter__(self) -> Judge:
        self.open += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.open -= 1


def _group(name: str, truth: float, texts: list[str]) -> Group:
    row = Example(
        id=name, item=Item(problem=f"Prove {name}.", steps=(f"Proof of {name}.",)), gold=Gold(grade=truth), source="made"
    )
    prompt = prompt_of(row, TASK, 0)
    assert prompt is not None
    samples = []
    for text in texts:
        verdict = TASK.parse(text)
        samples.append(Sample(ids=[1], text=text, verdict=verdict, reward=TASK.reward(verdict, row.gold), ended=True))
    return Group(prompt, [0], samples)


def _rewards(judge: Judge, folder: Path, groups: list[Group]) -> tuple[list[list[float]], MetaReward]:
    reward = MetaReward(judge, TASK, MetaVerification(), folder, max_tokens=64, seed=0)
    with reward:
        found = reward(groups)
    assert judge.open == 0
    return [[sample.reward for sample in group.samples] for group in found], reward


def _real(text: str, sample: int) -> str:
    critique = text.partition("<critique>")[2].partition("</critique>")[0]
    return f"Checked. \\boxed{{{0.5 if 'half' in critique else int('real' in critique)}}}"


def test_the_reward_is_the_product_and_low_grades_alone_are_asked(tmp_path: Path) -> None:
    judge = Judge(_real)
    texts = [LOW.format("a real one", 0), LOW.format("made up", 0), LOW.format("half of it", 0.5), "Issues: none\n\\boxed{1}",
             "hm",              "\\boxed{0}"]  # fmt: skip
    found, reward = _rewards(judge, tmp_path, [_group("wrong", 0.0, texts), _group("right", 1.0, texts)])
    assert found[0] == [1.0, 0.0, 0.25, 0.0, 0.0, 0.0]
    assert found[1] == [0.0, 0.0, 0.25, 1.0, 0.0, 0.0]
    assert judge.batches == 1, "one call for all groups"
    assert len(judge.asked) == 4, "neither full marks, nor a reward of 0, nor a grade without issues, nor an unparsed reply"
    assert reward.figures == {
        "meta_asked": 4 / 12, "meta_no_issues": 1 / 12, "meta_failed": 0.0, "meta_rating": (1 + 0 + 0.5 + 0.5) / 4,
        "meta_made_up": 0.25,
    }  # fmt: skip


def test_the_judge_never_sees_the_true_grade(tmp_path: Path) -> None:
    seen = []
    for truth in (0.0, 0.5):
        judge = Judge(_real)
        _rewards(judge, tmp_path / str(truth), [_group("x", truth, [LOW.format("real", 0.5), LOW.format("real", 0.5)])])
        seen.append([request.messages for request in judge.asked])
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1, "the same critique is asked about once"


def test_a_restarted_run_asks_nothing_again(tmp_path: Path) -> None:
    groups = [_group("x", 0.0, [LOW.format("real", 0), LOW.format("made up", 0)])]
    first, _ = _rewards(Judge(_real), tmp_path, groups)
    path = tmp_path / "meta.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": {"exam')  # a killed writer's torn line
    judge = Judge(_real)
    again, _ = _rewards(judge, tmp_path, groups)
    assert again == first
    assert not judge.asked
    assert len(list(read_rows(path, Generation))) == 2


def test_a_judge_is_asked_once_more(tmp_path: Path) -> None:
    judge = Judge(lambda text, sample: "I cannot say." if sample == 0 else "\\boxed{1}")
    found, reward = _rewards(judge, tmp_path, [_group("x", 0.0, [LOW.format("real", 0), LOW.format("other", 0)])])
    assert found == [[1.0, 1.0]]
    assert [request.sampling.temperature for request in judge.asked] == [0.0, 0.0, 1.0, 1.0]
    assert reward.figures["meta_failed"] == 0


@pytest.mark.parametrize("reply", [None, "no rating", "\\boxed{0.7}", "<think>\\boxed{1}"])
def test_a_judge_that_fails_gives_no_score(tmp_path: Path, reply: str | None) -> None:
    """The reply has the mean of the others: an advantage of 0."""
    judge = Judge(lambda text, sample: reply if "broken" in text else _real(text, sample))
    texts = [LOW.format("real", 0), LOW.format("made up", 0), LOW.format("broken", 0), "Issues: none\n\\boxed{1}"]
    found, reward = _rewards(judge, tmp_path, [_group("x", 0.0, texts)])
    (rewards,) = found
    assert rewards == [1.0, 0.0, pytest.approx(1 / 3), 0.0]
    assert rewards[2] == pytest.approx(sum(rewards) / 4), "so it is neither rewarded nor punished"
    assert reward.figures["meta_failed"] == pytest.approx(1 / 3)


def test_a_judge_that_is_down_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(DeepCriticError, match=r"rated none of 1 critiques \(unreachable gone\); start the same command"):
        _rewards(Judge(lambda text, sample: None), tmp_path, [_group("x", 0.0, [LOW.format("real", 0), "\\boxed{1}"])])


def test_nothing_to_ask_is_no_fault(tmp_path: Path) -> None:
    found, reward = _rewards(Judge(lambda text, sample: None), tmp_path, [_group("x", 1.0, ["\\boxed{1}", "hm"])])
    assert found == [[1.0, 0.0]]
    assert reward.figures["meta_asked"] == 0


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([0.0, 0.5, 1.0]), st.lists(st.tuples(st.sampled_from(["0", "0.5", "1", "x"]), st.sampled_from(
    ["real", "half", "made up", "broken", ""])), min_size=2, max_size=6), st.integers(0, 10**9))  # fmt: skip
def test_rewards_are_never_raised(tmp_path: Path, truth: float, drawn: list[tuple[str, str]], number: int) -> None:
    judge = Judge(lambda text, sample: None if "broken" in text else _real(text, sample))
    texts = [f"Issues:\n1. {issue}{at}\n\n\\boxed{{{grade}}}" if issue else f"\\boxed{{{grade}}}"
             for at, (grade, issue) in enumerate(drawn)]  # fmt: skip
    group = _group(f"x{number}", truth, texts)
    try:
        (found,), _ = _rewards(judge, tmp_path / str(number) / str(hash((truth, *drawn))), [group])
    except DeepCriticError:
        return
    for sample, reward, (_, issue) in zip(group.samples, found, drawn, strict=True):
        assert 0 <= reward <= 1
        if issue != "broken":
            assert reward <= sample.reward


@pytest.mark.slow
def test_grpo_with_a_judge(open_folder: Any, make_solutions: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real trainer: the judge's ratings reach its rewards, its log and its groups, and a failing judge stops it."""
    torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")
    torch.set_num_threads(1)
    from deepcritic.runs.jsonl import write_rows
    from deepcritic.stages import rl
    from tests.stages.conftest import call

    monkeypatch.chdir(tmp_path)
    template = tmp_path / "ask.txt"
    template.write_text(
        "---\nfields: [problem, solution]\nindex_base: 1\n---\n{{problem}}\n{{solution}}\nFirst wrong step?\n", "utf-8"
    )
    # The small critic names steps: in points, every step is a grade, and none is full marks.
    task = Proof(template=str(template), scale="points")
    monkeypatch.setattr(task, "issues", lambda text: ("it says so",))
    rows = [
        Example(id=row.id, item=row.item, gold=Gold(grade=(1 + at % 3) / 7), source="made")
        for at, row in enumerate(make_solutions(8))
    ]
    write_rows(tmp_path / "proofs.jsonl", rows)
    small: dict[str, Any] = {
        "examples": "proofs.jsonl", "model": "deepcritic://microworld/models/base", "prefilter_samples": 0, "steps": 2,
        "prompts_per_step": 2, "num_generations": 4, "device_batch_size": 8, "max_tokens": 64, "logging_steps": 1,
        "save_steps": 1, "log_groups": 2, "beta": 0.0, "meta_judge": "judge", "task": task, "learning_rate": 1e-4,
        "collapse_threshold": None,
    }  # fmt: skip

    def run(name: str, judge: Judge) -> Path:
        with open_folder(f"rl.{name}") as folder:
            call(rl, folder, sampler=lambda **_: judge, **small)
            place: Path = folder.path
        return place

    judge = Judge(lambda text, sample: "\\boxed{0.5}")
    place = run("good", judge)
    assert judge.asked
    assert judge.open == 0
    groups = [json.loads(line) for line in (place / "groups.jsonl").read_text("utf-8").splitlines()]
    rated = [sample for group in groups for sample in group["samples"] if "rating" in sample]
    assert rated
    for group in groups:
        for sample in group["samples"]:
            plain = task.reward(sample["verdict"], Gold(grade=group["gold"]))
            assert sample["reward"] == pytest.approx(plain * sample.get("rating", 1.0))
    logged = [json.loads(line) for line in (place / "training.jsonl").read_text("utf-8").splitlines()]
    assert any(line.get("meta_rating") == 0.5 for line in logged)
    with pytest.raises(DeepCriticError, match="rated none"):
        run("bad", Judge(lambda text, sample: None))
    assert not (tmp_path / "runs" / "mine" / "rl.bad" / "manifest.json").exists()


def test_only_proofs_have_a_judge(open_folder: Any) -> None:
    from deepcritic.errors import UsageError
    from deepcritic.stages import rl
    from deepcritic.tasks.first_error import FirstError

    with open_folder("rl") as folder, pytest.raises(UsageError, match="needs task=proof; found task=first_error"):
        rl._meta_reward(folder, rl.RLOptions(examples="x", meta_judge="m"), FirstError(), lambda **_: Judge(_real))

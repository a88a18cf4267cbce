"""Training that was killed continues from a checkpoint and ends with the same weights."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic.schema import ALL_CORRECT
from deepcritic.smallworld import curve, train
from deepcritic.smallworld.lessons import lessons

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
KILLED_AT = 5


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Courses of seven steps with a checkpoint every two."""
    monkeypatch.setattr(
        train, "COURSES", {"foundation": train.Course(None, 7, 1e-3), "teacher": train.Course("foundation", 7, 1e-3)}
    )
    monkeypatch.setattr(train, "CHECKPOINT_STEPS", 2)
    monkeypatch.setattr(train, "BATCH", 2)
    corpus = [text for _, lesson in zip(range(60), lessons("teacher", 0), strict=False) for turn in lesson for text in turn]
    monkeypatch.setattr(train, "_corpus", lambda: iter(corpus))


@pytest.mark.parametrize("role", ["foundation", "teacher"])
def test_a_killed_course_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        if role != "foundation":
            train.train("foundation", folder, 1)
    train.train(role, whole, 1)

    draw = train._batches

    def until_killed(*arguments: Any) -> Iterator[Any]:
        for at, batch in enumerate(draw(*arguments)):
            if at == KILLED_AT:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(train, "_batches", until_killed)
        with pytest.raises(KeyboardInterrupt):
            train.train(role, killed, 1)
    assert not (killed / role).exists()
    (killed / "checkpoints" / f"{role}-6.part").mkdir()  # killed while it wrote a checkpoint
    trained: list[float] = []
    step = train._backward

    def counted(*arguments: Any) -> float:
        trained.append(step(*arguments))
        return trained[-1]

    monkeypatch.setattr(train, "_backward", counted)
    train.train(role, killed, 1)
    assert len(trained) == 3  # from the checkpoint after four steps
    assert _weights(killed / role) == _weights(whole / role)


def test_a_checkpoint_is_a_model(tmp_path: Path, short: None) -> None:
    train.train("foundation", tmp_path, 1)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["foundation-2", "foundation-4", "foundation-6"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in (tmp_path / "checkpoints" / names[0]).iterdir()
    }


def test_a_learning_curve_is_measured_on_new_problems_half_of_them_solved_wrongly() -> None:
    found = curve.solutions(40, 100)
    assert {one.problem.split for one in found} == {"validation"}
    assert sum(one.first_error == ALL_CORRECT for one in found) == 20


def test_next_tokens_are_compared_with_the_right_ones(tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that knows the reply is right everywhere; one that always says "same" is right on the steps that are."""
    train.train("foundation", tmp_path, 1)
    path, found = str(tmp_path / "foundation"), curve.solutions(8, 100)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    same, differ = (tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in ("same", "differ"))

    def forward(answers: Any) -> Any:
        def replied(self: Any, input_ids: Any) -> Any:
            following = torch.cat([input_ids[:, 1:], input_ids[:, :1]], dim=1).apply_(answers)
            return types.SimpleNamespace(logits=torch.nn.functional.one_hot(following, len(tokenizer)).float())

        return replied

    monkeypatch.setattr(transformers.Qwen2ForCausalLM, "forward", forward(lambda token: token))
    assert curve.next_tokens(path, found) == {"computes": 100, "differ": 100, "reads": 100, "same": 100}
    monkeypatch.setattr(transformers.Qwen2ForCausalLM, "forward", forward(lambda token: same if token == differ else token))
    assert curve.next_tokens(path, found) == {"computes": 100, "differ": 0, "reads": 100, "same": 100}


def _weights(model: Path) -> bytes:
    return (model / "model.safetensors").read_bytes()

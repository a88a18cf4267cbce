"""Training that was killed continues from a checkpoint and ends with the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic.smallworld import train
from deepcritic.smallworld.lessons import lessons

torch = pytest.importorskip("torch")
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


def _weights(model: Path) -> bytes:
    return (model / "model.safetensors").read_bytes()

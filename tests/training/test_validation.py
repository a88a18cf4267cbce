"""F1 with the weights of the moment: the figures are those of an evaluation, they change no step, and the best weights stay."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace as replaced

from deepcritic.datasets.limits import limited
from deepcritic.errors import InputError
from deepcritic.hub.models import load_model, load_tokenizer
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Example, Gold

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")

from deepcritic.training.checkpoints import best_of, keep_best  # noqa: E402
from deepcritic.training.validation import Validation, validate  # noqa: E402

pytestmark = pytest.mark.slow
BASE = "deepcritic://microworld/models/base"
Command = Callable[..., Any]


class Lent:
    """As much of a trainer as sampling with its weights needs."""

    is_deepspeed_enabled = is_fsdp_enabled = False
    args = SimpleNamespace(bf16=False)

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.model = load_model(BASE, device="cpu").train()
        self.accelerator = SimpleNamespace(
            process_index=0,
            num_processes=1,
            unwrap_model=lambda model: model,
            wait_for_everyone=lambda: None,
            state=SimpleNamespace(),
        )
        self.callbacks: list[Any] = []

    def add_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def save_model(self, place: str) -> None:
        self.model.save_pretrained(place)


@pytest.fixture(scope="module")
def trainer() -> Lent:
    return Lent()


@pytest.fixture
def rows(make_solutions: Any) -> list[Example]:
    return list(make_solutions(24, seed=5))


def test_the_figures_are_those_of_an_evaluation(
    trainer: Lent, rows: list[Example], critic_task: Any, command: Command, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(BASE)
    validation = Validation(rows=rows, task=critic_task, max_tokens=120, votes=3, batch_size=7)
    figures = validation.measure(trainer, tokenizer)
    assert trainer.model.training, "it goes on training where it was training"
    write_rows(tmp_path / "rows.jsonl", rows)
    words = ["experiment=microworld/evaluate", "benchmark.path=rows.jsonl", f"model={BASE}", "stage.max_tokens=120", "run=mine"]
    outcome = command(*words, "stage.temperature=0")
    assert outcome.code == 0, outcome.err
    metrics = json.loads(Path("runs/mine/evaluate/metrics.json").read_text("utf-8"))
    for ours, theirs in (
        ("eval_f1", "f1"),
        ("eval_error_accuracy", "error_accuracy"),
        ("eval_correct_accuracy", "correct_accuracy"),
    ):
        assert figures[ours] == pytest.approx(metrics[theirs], abs=1e-3), ours
    assert 0 < figures["eval_correct_accuracy"] <= 100
    assert set(figures) >= {"eval_f1", "eval_maj_f1", "eval_unparsed"}
    assert validation.measure(trainer, tokenizer) == figures, "the same seeds at every step"


def test_rows_without_a_label_are_passed_over(rows: list[Example], critic_task: Any, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [replaced(rows[0], gold=Gold()), *rows[1:6]])
    found = Validation.read(str(tmp_path / "rows.jsonl"), critic_task, limit=3, max_tokens=8)
    assert list(found.rows) == list(limited(rows[1:6], 3))
    write_rows(tmp_path / "none.jsonl", [replaced(rows[0], gold=Gold())])
    with pytest.raises(InputError, match="no labelled example for validation"):
        Validation.read(str(tmp_path / "none.jsonl"), critic_task, max_tokens=8)


def test_a_prompt_that_leaves_no_room_is_refused_beforehand(trainer: Lent, rows: list[Example], critic_task: Any) -> None:
    tokenizer, context = load_tokenizer(BASE), trainer.model.config.max_position_embeddings
    Validation(rows=rows, task=critic_task, max_tokens=16).check(trainer.model, tokenizer)
    Validation(rows=rows, task=critic_task, max_tokens=context).check(trainer.model, tokenizer)
    long = replaced(rows[0], item=replaced(rows[0].item, problem="7 " * context))
    with pytest.raises(InputError, match=r"stage.validation_examples: the prompt of validation example 'p0' leaves no room"):
        Validation(rows=[long], task=critic_task).check(trainer.model, tokenizer)


def _state(step: int, epoch: float) -> Any:
    return SimpleNamespace(global_step=step, max_steps=9, epoch=epoch)


def _measured(
    monkeypatch: pytest.MonkeyPatch, folder: Path, every: int | None, scores: dict[int, float]
) -> tuple[list[int], dict[str, Any]]:
    """The steps at which a run of nine steps (three an epoch) validates, and what it keeps as the best."""
    import transformers

    lent, seen, control = Lent(), list[int](), SimpleNamespace(should_log=True, should_training_stop=False)
    now = SimpleNamespace(step=0)

    def measure(self: Any, trainer: Any, tokenizer: Any) -> dict[str, float]:
        seen.append(now.step)
        return {"eval_f1": scores.get(now.step, 0.0)}

    monkeypatch.setattr(Validation, "measure", measure)
    monkeypatch.setattr(transformers.Trainer, "log", lambda self, figures: setattr(control, "should_log", False))
    validate(lent, load_tokenizer(BASE), Validation(rows=[], task=None, max_tokens=1), folder, every)  # type: ignore[arg-type]
    for step in range(1, 10):
        now.step = step
        lent.callbacks[0].on_step_end(None, _state(step, step / 3), control)
        assert control.should_log, "the line of the step itself is still to come"
    return seen, best_of(folder)


@pytest.mark.parametrize(("every", "steps"), [(2, [2, 4, 6, 8, 9]), (None, [3, 6, 9]), (5, [5, 9])])
def test_when_it_validates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, every: int | None, steps: list[int]) -> None:
    assert _measured(monkeypatch, tmp_path, every, {})[0] == steps


def test_the_first_of_the_best_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, best = _measured(monkeypatch, tmp_path, 3, {3: 10.0, 6: 40.0, 9: 40.0})
    assert best == {"step": 6, "eval_f1": 40.0}
    assert load_model(str(tmp_path / "best"), device="cpu").config.model_type == "qwen2"
    assert load_tokenizer(str(tmp_path / "best")).chat_template


def test_a_best_that_was_not_put_in_place_is_written_anew(trainer: Lent, tmp_path: Path) -> None:
    (tmp_path / ".best").mkdir()
    (tmp_path / ".best" / "model.safetensors").write_text("half", "utf-8")
    assert best_of(tmp_path) == {}
    keep_best(trainer, load_tokenizer(BASE), tmp_path, {"step": 3, "eval_f1": math.pi})
    assert best_of(tmp_path)["step"] == 3
    assert not (tmp_path / ".best").exists()

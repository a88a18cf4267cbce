"""Fine-tuning with the real trainer: what the loss is on, what is counted, what is left behind and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.chat import dialogue_ids, prompt_ids
from deepcritic.errors import DeepCriticError
from deepcritic.microworld.lessons import deep_critique
from deepcritic.microworld.world import Problem
from deepcritic.models import load_model, load_tokenizer
from deepcritic.rows import Dialogue, Example, Message
from deepcritic.store import write_rows

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")

from deepcritic.stages import sft  # noqa: E402
from deepcritic.training import last_checkpoint, order_by_epoch, recorder  # noqa: E402
from deepcritic.training.settings import TrainerSettings  # noqa: E402

pytestmark = pytest.mark.slow
BASE = "deepcritic://microworld/models/base"
Command = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def dialogues(make_solutions: Any, critic_task: Any, tmp_path: Path) -> list[Dialogue]:
    """Twelve dialogues of the small world, in `dialogues.jsonl`."""

    def write(row: Example) -> Dialogue:
        reply = deep_critique(Problem.read(row.item.problem), list(row.item.steps))
        messages = (*critic_task.ask(row.item).messages, Message(role="assistant", content=reply))
        return Dialogue(id=row.id, task=critic_task.name, messages=messages, verdict=row.gold.first_error)

    rows = [write(row) for row in make_solutions(12)]
    write_rows(tmp_path / "dialogues.jsonl", rows)
    return rows


SMALL = (
    "stage.dialogues=dialogues.jsonl",
    "stage.batch_size=4",
    "stage.device_batch_size=2",
    "stage.logging_steps=1",
    "run=mine",
)
SETTINGS = {
    "learning_rate": 1e-3, "num_train_epochs": 1, "max_steps": 1, "per_device_train_batch_size": 4, "max_length": 512,
    "gradient_accumulation_steps": 1, "warmup_steps": 0, "save_steps": 10, "logging_steps": 1, "seed": 0, "eval_strategy": "no",
}  # fmt: skip


def _train(command: Command, *more: str) -> Any:
    return command("experiment=microworld/sft", *SMALL, *more)


@pytest.fixture
def trainer(open_folder: Any, dialogues: list[Dialogue], critic_task: Any, tmp_path: Path) -> Any:
    """The trainer as the stage makes it."""
    with open_folder("sft") as folder:
        tokenizer = load_tokenizer(BASE)
        rows, _ = sft.encode_dialogues(folder, tmp_path / "dialogues.jsonl", tokenizer, critic_task, 512, None)
        assert len(rows) == len(dialogues)
        yield sft._trainer(folder, BASE, tokenizer, rows, [], TrainerSettings(), SETTINGS)


def test_the_loss_is_on_the_reply_and_its_end_alone(trainer: Any, dialogues: list[Dialogue]) -> None:
    tokenizer = load_tokenizer(BASE)
    expected = {}
    for dialogue in dialogues:
        ids, _ = dialogue_ids(tokenizer, dialogue.messages)
        start = len(prompt_ids(tokenizer, dialogue.messages[:-1]))
        expected[tuple(ids)] = [-100] * start + ids[start:]
        assert tokenizer.decode(ids[start:]) == dialogue.messages[-1].content + "<|im_end|>"
    seen = 0
    for batch in trainer.get_train_dataloader():
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            length = int(mask.sum())
            assert mask[:length].all(), "padding comes after"
            assert labels[:length].tolist() == expected[tuple(ids[:length].tolist())]
            assert (labels[length:] == -100).all(), "padding is not learnt"
            seen += 1
    assert seen == len(dialogues)


def test_the_loss_is_the_mean_over_the_tokens_of_the_replies(trainer: Any) -> None:
    batch = next(iter(trainer.get_train_dataloader()))
    model = trainer.model.eval()
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        chances = logits[:, :-1].log_softmax(-1)
        following = batch["labels"][:, 1:]
        learnt = following != -100
        chosen = chances.gather(-1, following.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        expected = -(chosen * learnt).sum() / learnt.sum()
        found = trainer.compute_loss(model, batch, num_items_in_batch=learnt.sum())
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_a_prompt_has_no_gradient_of_its_own(trainer: Any) -> None:
    """Other labels under the mask would change nothing: the loss does not read the prompt's own tokens."""
    batch = next(iter(trainer.get_train_dataloader()))
    first = int((batch["labels"][0] != -100).nonzero()[0])
    logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logits.retain_grad()
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[0, : first - 1].any()
    assert logits.grad[0, first - 1].any()


def test_a_run_and_what_it_leaves_behind(command: Command, dialogues: list[Dialogue]) -> None:
    outcome = _train(command, "stage.max_steps=3", "stage.save_steps=2", "stage.validation=0.25")
    assert outcome.code == 0, outcome.err
    folder = Path("runs/mine/sft")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["steps"] == 3
    assert manifest["counts"]["dialogues"] == {"in": 12, "out": 12, "failed": {}, "filtered": {}}
    assert manifest["model"].startswith("base#")
    assert manifest["trained"].startswith("model#")
    assert not list(folder.glob("checkpoint-*"))
    assert not [file for file in folder.rglob("*") if file.suffix in {".bin", ".pt", ".pth", ".pkl"}]
    lines = [json.loads(line) for line in (folder / "training.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    assert [line["step"] for line in lines if "eval_loss" in line] == [3]
    assert all(math.isfinite(value) for line in lines for value in line.values())
    before, after = load_model(BASE, device="cpu"), load_model(str(folder / "model"), device="cpu")
    moved = [not torch.equal(old, new) for old, new in zip(before.parameters(), after.parameters(), strict=True)]
    assert all(moved)
    assert load_tokenizer(str(folder / "model")).chat_template == load_tokenizer(BASE).chat_template
    again = _train(command, "stage.max_steps=3", "stage.save_steps=2", "stage.validation=0.25")
    assert "nothing to do" in again.out


def test_the_same_seed_gives_the_same_weights(command: Command, dialogues: list[Dialogue]) -> None:
    for run in ("mine", "again"):
        assert _train(command, "stage.max_steps=2", f"run={run}").code == 0
    first, second = (Path(f"runs/{run}/sft/model/model.safetensors").read_bytes() for run in ("mine", "again"))
    assert first == second
    assert _train(command, "stage.max_steps=2", "run=other", "seed=5").code == 0
    assert Path("runs/other/sft/model/model.safetensors").read_bytes() != first


def test_overlong_dialogues_are_set_aside_and_counted(command: Command, dialogues: list[Dialogue]) -> None:
    tokenizer = load_tokenizer(BASE)
    lengths = sorted(len(dialogue_ids(tokenizer, dialogue.messages)[0]) for dialogue in dialogues)
    most = lengths[-1] - 1
    longer = sum(length > most for length in lengths)
    assert 0 < longer < 12
    assert _train(command, "stage.max_steps=1", f"stage.max_length={most}").code == 0
    counts = json.loads(Path("runs/mine/sft/manifest.json").read_text("utf-8"))["counts"]["dialogues"]
    assert counts == {"in": 12, "out": 12 - longer, "failed": {}, "filtered": {"longer than max_length": longer}}


def test_a_limit(command: Command, dialogues: list[Dialogue]) -> None:
    assert _train(command, "stage.max_steps=1", "stage.limit=5").code == 0
    assert json.loads(Path("runs/mine/sft/manifest.json").read_text("utf-8"))["counts"]["dialogues"]["in"] == 5


def _refused(outcome: Any, code: int, *said: str) -> None:
    assert outcome.code == code
    assert len(outcome.err.splitlines()) == 1, outcome.err
    for piece in said:
        assert piece in outcome.err
    assert not Path("runs/mine/sft/manifest.json").exists()


def test_bad_input_is_refused(command: Command, dialogues: list[Dialogue]) -> None:
    _refused(_train(command, "stage.max_length=5"), 1, "dialogues.jsonl: no dialogue to learn from")
    _refused(_train(command, "stage.device_batch_size=3"), 2, "stage.batch_size=4 is no multiple of stage.device_batch_size=3")
    _refused(command("stage=sft", *SMALL), 2, "no model is named: give model=PATH")
    _refused(_train(command, "stage.dialogues=nowhere.jsonl"), 1, "dialogues: no such file")


def test_dialogues_of_another_task_are_refused(command: Command, dialogues: list[Dialogue]) -> None:
    other = Dialogue(id="x", task="pointwise", messages=dialogues[0].messages, verdict=1)
    write_rows(Path("dialogues.jsonl"), [*dialogues[:2], other])
    _refused(_train(command), 1, "dialogues.jsonl:3: task: a dialogue of another task; found 'pointwise'", "first_error")


def test_a_dialogue_that_does_not_end_with_a_reply_is_refused(command: Command, dialogues: list[Dialogue]) -> None:
    write_rows(Path("dialogues.jsonl"), [Dialogue(id="x", task="first_error", messages=dialogues[0].messages[:1], verdict=1)])
    _refused(_train(command), 1, "the last message is not the assistant's")


# Checkpoints


def test_the_newest_complete_checkpoint_is_taken_and_half_written_ones_go(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step, complete in ((2, True), (10, True), (9, True), (12, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "weights").write_text("w", "utf-8")
        if complete:
            (tmp_path / f"checkpoint-{step}" / "complete").touch()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert sorted(place.name for place in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2", "checkpoint-9"]


def test_a_half_written_checkpoint_does_not_stand_in_the_way(command: Command, dialogues: list[Dialogue]) -> None:
    half = Path("runs/mine/sft/checkpoint-1")
    half.mkdir(parents=True)
    (half / "trainer_state.json").write_text('{"global_', "utf-8")
    outcome = _train(command, "stage.max_steps=1")
    assert outcome.code == 0, outcome.err
    assert "checkpoint-1: a half-written checkpoint was removed" in outcome.out


class _State:
    global_step, max_steps, epoch = 3, 9, 0.5


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    callback = recorder(tmp_path)
    callback.on_train_begin(None, _State, None)
    with pytest.raises(DeepCriticError, match="the loss is nan at step 3: lower the learning rate"):
        callback.on_log(None, _State, None, logs={"loss": math.nan})


def test_lines_beyond_the_checkpoint_and_torn_ones_are_dropped(tmp_path: Path) -> None:
    file = tmp_path / "training.jsonl"
    file.write_text('{"step": 2, "loss": 1.0}\n{"step": 3, "loss": 1.0}\n{"step": 4, "loss": 1.0}\n{"step": 5, "lo', "utf-8")
    callback = recorder(tmp_path)
    callback.on_train_begin(None, _State, None)
    callback.on_log(None, _State, None, logs={"reward": 0.5, "grad_norm": math.inf, "num_tokens": 7, "name": "x"})
    callback.on_log(None, _State, None, logs={"train_runtime": 1.0, "train_loss": 0.2})
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert lines == [{"step": 2, "loss": 1.0}, {"step": 3, "loss": 1.0}, {"step": 3, "reward": 0.5}]


class _Shuffled:
    """As the trainers' samplers: an order from a generator that goes on from epoch to epoch."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return 50

    def __iter__(self) -> Any:
        return iter(torch.randperm(50, generator=self.generator).tolist())


class _Trainer:
    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return _Shuffled()


def _order(seed: int, *epochs: int) -> list[list[int]]:
    trainer = _Trainer()
    order_by_epoch(trainer, seed)
    sampler, orders = trainer._get_train_sampler(), []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    return orders


def test_the_order_of_an_epoch_does_not_depend_on_those_before() -> None:
    first, second, third = _order(7, 0, 1, 2)
    assert _order(7, 2) == [third]
    assert _order(7, 1, 1) == [second, second]
    assert len({tuple(order) for order in (first, second, third, *_order(8, 0))}) == 4
    assert all(sorted(order) == list(range(50)) for order in (first, second, third))

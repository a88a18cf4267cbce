"""Fine-tuning with the real trainer: what the loss is on, what is counted, what is left behind and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replaced

from deepcritic.errors import DeepCriticError
from deepcritic.hub.models import load_model, load_tokenizer
from deepcritic.microworld.lessons import deep_critique
from deepcritic.microworld.world import Problem
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Dialogue, Example, Message
from deepcritic.text.chat_template import dialogue_ids, prompt_ids

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")

from deepcritic.training import sft as training_sft  # noqa: E402
from deepcritic.training.loop import last_checkpoint, order_by_epoch, recorder  # noqa: E402
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
        rows, _ = training_sft.encode_dialogues(folder, tmp_path / "dialogues.jsonl", tokenizer, critic_task, 512, None)
        assert len(rows) == len(dialogues)
        yield training_sft.sft_trainer(folder, BASE, tokenizer, rows, [], TrainerSettings(), SETTINGS)


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


QWEN = """{%- if messages[0].role == 'system' -%}
{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' -}}
{%- else -%}
{{- '<|im_start|>system\nYou are a patient examiner.<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if not (message.role == 'system' and loop.first) -%}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' -}}
{%- endif -%}"""
"""Built as Qwen2.5's: a system prompt of its own where none is given, and a line feed after the end of each turn."""


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_the_loss_in_a_template_as_qwens(
    open_folder: Any, dialogues: list[Dialogue], critic_task: Any, tmp_path: Path, system: str | None
) -> None:
    tokenizer = load_tokenizer(BASE)
    tokenizer.chat_template = QWEN
    first = (Message(role="system", content=system),) if system else ()
    write_rows(tmp_path / "dialogues.jsonl", [replaced(row, messages=(*first, *row.messages)) for row in dialogues])
    with open_folder("sft") as folder:
        rows, _ = training_sft.encode_dialogues(folder, tmp_path / "dialogues.jsonl", tokenizer, critic_task, 512, None)
        trainer = training_sft.sft_trainer(folder, BASE, tokenizer, rows, [], TrainerSettings(), SETTINGS)
        batches = list(trainer.get_train_dataloader())
    learnt, unlearnt = set[str](), set[str]()
    for batch in batches:
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            ids, labels = ids[: int(mask.sum())], labels[: int(mask.sum())]
            start = int((labels != -100).nonzero()[0])
            assert (labels[start:] == ids[start:]).all(), "one stretch, to the end"
            learnt.add(tokenizer.decode(ids[start:]))
            unlearnt.add(tokenizer.decode(ids[:start]))
    assert learnt == {row.messages[-1].content + "<|im_end|>" for row in dialogues}
    wanted = {
        f"<|im_start|>system\n{system or 'You are a patient examiner.'}<|im_end|>\n<|im_start|>user\n{row.messages[0].content}"
        "<|im_end|>\n<|im_start|>assistant\n"
        for row in dialogues
    }
    assert {text.replace(" ", "") for text in unlearnt} == {text.replace(" ", "") for text in wanted}


def _losses(model: Any, batch: dict[str, Any]) -> list[float]:
    """The loss of each example of a batch: of those in rows of their own, or of those laid end to end."""
    with torch.no_grad():
        logits = model(use_cache=False, **{name: value for name, value in batch.items() if name != "labels"}).logits
    labels = batch["labels"]
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
    losses = losses.view(labels.shape[0], -1)
    if "position_ids" not in batch:
        return [float(row.sum()) for row in losses]
    starts = [*(batch["position_ids"][0] == 0).nonzero().flatten().tolist(), labels.shape[1]]
    return [float(losses[0, start : end - 1].sum()) for start, end in itertools.pairwise(starts)]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_and_alone_each_example_has_the_same_loss(
    open_folder: Any, dialogues: list[Dialogue], critic_task: Any, tmp_path: Path, attention: str
) -> None:
    tokenizer = load_tokenizer(BASE)
    found: dict[bool, list[float]] = {}
    with open_folder("sft") as folder:
        rows, _ = training_sft.encode_dialogues(folder, tmp_path / "dialogues.jsonl", tokenizer, critic_task, 512, None)
        for packing in (False, True):
            settings = TrainerSettings(packing=packing, attention=attention)
            each = {**SETTINGS, "per_device_train_batch_size": 4 if packing else 1}
            trainer = training_sft.sft_trainer(folder, BASE, tokenizer, rows, [], settings, each)
            batches = list(trainer.get_train_dataloader())
            assert len(batches) == (3 if packing else 12)
            assert all(len(batch["input_ids"]) == 1 for batch in batches)
            model = trainer.model.eval()
            found[packing] = sorted(loss for batch in batches for loss in _losses(model, batch))
    assert found[True] == pytest.approx(found[False], rel=1e-4)
    assert len({round(loss, 2) for loss in found[True]}) > 6
    for batch in batches:  # without the boundaries the examples would look at each other
        batch["position_ids"] = torch.arange(batch["position_ids"].shape[1])[None]
    whole = sum(_losses(model, batch)[0] for batch in batches)
    assert whole != pytest.approx(sum(found[False]), rel=1e-2)


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
    outcome = _train(command, "stage.max_steps=3", "stage.save_steps=2", "stage.validation_split=0.25")
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
    again = _train(command, "stage.max_steps=3", "stage.save_steps=2", "stage.validation_split=0.25")
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


def test_dialogues_that_lose_their_end_are_counted(command: Command, dialogues: list[Dialogue]) -> None:
    tokenizer = load_tokenizer(BASE)
    encoded = [dialogue_ids(tokenizer, dialogue.messages) for dialogue in dialogues]
    lengths = sorted(len(ids) for ids, _ in encoded)
    most = lengths[6]
    outcome = _train(command, "stage.max_steps=1", f"stage.max_length={most}", "stage.on_too_long=truncate")
    assert outcome.code == 0, outcome.err
    longer = sum(length > most for length in lengths)
    assert f"{longer} of 12 replies were truncated" in outcome.out
    manifest = json.loads(Path("runs/mine/sft/manifest.json").read_text("utf-8"))
    assert manifest["truncated_dialogues"] == longer
    assert manifest["counts"]["dialogues"] == {"in": 12, "out": 12, "failed": {}, "filtered": {}}


def test_a_dialogue_of_which_nothing_of_the_reply_would_be_left_is_set_aside(
    open_folder: Any, dialogues: list[Dialogue], critic_task: Any, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(BASE)
    prompts = sorted(len(prompt_ids(tokenizer, dialogue.messages[:-1])) for dialogue in dialogues)
    most = prompts[-1]
    with open_folder("sft") as folder:
        path = tmp_path / "dialogues.jsonl"
        rows, _ = training_sft.encode_dialogues(folder, path, tokenizer, critic_task, most, None, "truncate")
        counts = folder.ledger("dialogues").as_dict()
    assert counts["filtered"] == {"prompt longer than max_length": prompts.count(most)}
    assert all(len(row["input_ids"]) == len(row["completion_mask"]) <= most and any(row["completion_mask"]) for row in rows)


def test_a_dry_run_tells_the_plan_and_leaves_nothing_behind(command: Command, dialogues: list[Dialogue]) -> None:
    outcome = _train(command, "stage.epochs=3", "dry_run=true", "trainer.devices=8", "trainer.mfu=0.5")
    assert outcome.code == 0, outcome.err
    tokens = sum(len(dialogue_ids(load_tokenizer(BASE), dialogue.messages)[0]) for dialogue in dialogues)
    for said in (
        "parameters: 515,712; trained: all", f"{3 * tokens:,} tokens in 9 steps", "8 GPUs", "MFU of 0.5", "weights",
        "gradients", "optimizer", "activations", "4 dialogues per step", "dry run, nothing was trained",
    ):  # fmt: skip
        assert said in outcome.out, said
    assert not Path("runs").exists()
    real = _train(command, "stage.epochs=3")
    assert real.code == 0, real.err
    assert json.loads(Path("runs/mine/sft/manifest.json").read_text("utf-8"))["steps"] == 9


def test_f1_at_the_end_of_each_epoch_and_the_best_weights(
    command: Command, dialogues: list[Dialogue], make_solutions: Any
) -> None:
    write_rows(Path("rows.jsonl"), make_solutions(6, seed=9))
    words = (
        "stage.epochs=2",
        "stage.validation_examples=rows.jsonl",
        "stage.validation_max_tokens=24",
        "stage.validation_votes=2",
    )
    assert _train(command, *words).code == 0
    folder = Path("runs/mine/sft")
    lines = [json.loads(line) for line in (folder / "training.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines if "eval_f1" in line] == [3, 6]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    best = json.loads((folder / "manifest.json").read_text("utf-8"))["best"]
    assert best["step"] in {3, 6}
    assert "eval_maj_f1" in best
    load_model(str(folder / "best"), device="cpu")
    plain = _train(command, "stage.epochs=2", "run=plain")
    assert plain.code == 0
    weights = [Path(f"runs/{run}/sft/model/model.safetensors").read_bytes() for run in ("mine", "plain")]
    assert weights[0] == weights[1], "measuring changes nothing"


class _Interrupted(BaseException):
    """As if the process were gone."""


@pytest.mark.parametrize("how", ["trainer=lora", "trainer.packing=true"])
def test_stopped_and_started_again_it_ends_as_if_it_had_not_been(
    command: Command, dialogues: list[Dialogue], make_solutions: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    import transformers

    write_rows(Path("rows.jsonl"), make_solutions(4, seed=9))
    words = ("stage.epochs=2", "stage.save_steps=2", "stage.validation_examples=rows.jsonl", "stage.validation_max_tokens=6", how)
    assert _train(command, *words, "run=whole").code == 0
    step = transformers.Trainer.training_step

    def stops(self: Any, *given: Any, **options: Any) -> Any:
        if self.state.global_step == 5:
            raise _Interrupted
        return step(self, *given, **options)

    with monkeypatch.context() as broken:
        broken.setattr(transformers.Trainer, "training_step", stops)
        with pytest.raises(_Interrupted):
            _train(command, *words)
    assert sorted(place.name for place in Path("runs/mine/sft").glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    assert _train(command, *words).code == 0
    for name in ("training.jsonl", "model/model.safetensors", "best/model.safetensors", "best/validation.json"):
        one, other = (Path(f"runs/{run}/sft/{name}") for run in ("whole", "mine"))
        assert one.read_bytes() == other.read_bytes(), name
    assert Path("runs/mine/sft/adapter/adapter_config.json").is_file() == (how == "trainer=lora")


def test_a_card_stands_beside_the_model_and_a_finished_one_is_pushed(command: Command, dialogues: list[Dialogue]) -> None:
    assert _train(command, "stage.max_steps=1").code == 0
    card = Path("runs/mine/sft/model/README.md").read_text("utf-8")
    assert "Trained with SFT from `base`" in card
    assert "| batch_size | 4 |" in card
    outcome = _train(command, "stage.max_steps=1", "stage.push=./hub")
    assert outcome.code == 0, outcome.err
    assert "nothing to do" in outcome.out
    assert Path("hub/README.md").read_text("utf-8") == card
    assert load_tokenizer("./hub").chat_template
    load_model("./hub", device="cpu")


def _refused(outcome: Any, code: int, *said: str) -> None:
    assert outcome.code == code
    *before, last = outcome.err.splitlines()  # bars of the libraries, which the command line switches off on starting
    assert not any("error" in line.lower() for line in before), outcome.err
    for piece in said:
        assert piece in last
    assert not Path("runs/mine/sft/manifest.json").exists()


def test_bad_input_is_refused(command: Command, dialogues: list[Dialogue]) -> None:
    _refused(_train(command, "stage.max_length=5"), 1, "dialogues.jsonl: no usable dialogue")
    _refused(_train(command, "stage.device_batch_size=3"), 2, "stage.batch_size=4 is not a multiple of stage.device_batch_size=3")
    _refused(command("stage=sft", *SMALL), 2, "no model is given; set model=PATH")
    _refused(_train(command, "stage.dialogues=nowhere.jsonl"), 1, "nowhere.jsonl: no such file")


def test_settings_that_cannot_work_are_refused(command: Command, dialogues: list[Dialogue]) -> None:
    _refused(
        _train(command, "stage.on_too_long=cut"),
        2,
        "stage.on_too_long: invalid choice; found 'cut'; expected error, drop, truncate",
    )
    _refused(
        _train(command, "stage.max_length=60", "stage.on_too_long=error"), 1, "dialogues.jsonl: id: the dialogue is longer than"
    )
    _refused(_train(command, "trainer=qlora"), 2, "bitsandbytes is not installed")
    _refused(_train(command, "stage.validation_examples=nowhere.jsonl"), 1, "validation_examples: no such file")
    _refused(
        _train(command, "stage.learning_rate=1e30", "stage.warmup_ratio=0"),
        1,
        "the loss is nan at step",
        "lower stage.learning_rate",
    )


def test_weights_that_are_not_those_of_the_configuration_are_refused(command: Command, dialogues: list[Dialogue]) -> None:
    from safetensors.torch import load_file, save_file

    load_model(BASE, device="cpu").save_pretrained("damaged")
    load_tokenizer(BASE).save_pretrained("damaged")
    weights = load_file("damaged/model.safetensors")
    gone = next(name for name in weights if "q_proj" in name)
    save_file({name: part for name, part in weights.items() if name != gone}, "damaged/model.safetensors", {"format": "pt"})
    _refused(_train(command, "model=./damaged"), 1, "model: weights are missing", gone)
    save_file({**weights, gone: weights[gone][:-1].contiguous()}, "damaged/model.safetensors", {"format": "pt"})
    _refused(_train(command, "model=./damaged"), 1, "model: the model cannot be loaded")


def test_a_tokenizer_without_a_chat_template_is_refused_before_weights_are_read(
    command: Command, dialogues: list[Dialogue]
) -> None:
    load_tokenizer(BASE).save_pretrained("mute")
    load_model(BASE, device="cpu").config.save_pretrained("mute")
    Path("mute/chat_template.jinja").unlink()
    _refused(_train(command, "model=./mute"), 1, "the tokenizer has no chat template")


def test_a_checkpoint_of_another_model_is_refused(command: Command, dialogues: list[Dialogue]) -> None:
    assert _train(command, "stage.max_steps=3").code == 0
    Path("runs/mine/sft/manifest.json").unlink()
    place = Path("runs/mine/sft/checkpoint-1")
    place.mkdir()
    (place / "complete").touch()
    (place / "config.json").write_text('{"model_type": "llama"}', "utf-8")
    (place / "trainer_state.json").write_text('{"global_step": 1, "max_steps": 3}', "utf-8")
    _refused(_train(command, "stage.max_steps=3"), 1, "model_type: the checkpoint has another architecture; found 'llama'")


def test_dialogues_of_another_task_are_refused(command: Command, dialogues: list[Dialogue]) -> None:
    other = Dialogue(id="x", task="pointwise", messages=dialogues[0].messages, verdict=1)
    write_rows(Path("dialogues.jsonl"), [*dialogues[:2], other])
    _refused(
        _train(command), 1, "dialogues.jsonl:3: task: the dialogue belongs to another task; found 'pointwise'", "first_error"
    )


def test_a_dialogue_that_does_not_end_with_a_reply_is_refused(command: Command, dialogues: list[Dialogue]) -> None:
    write_rows(Path("dialogues.jsonl"), [Dialogue(id="x", task="first_error", messages=dialogues[0].messages[:1], verdict=1)])
    _refused(_train(command), 1, "the last message is not from the assistant")


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
    assert "checkpoint-1: removed an incomplete checkpoint" in outcome.out


class _State:
    global_step, max_steps, epoch = 3, 9, 0.5


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    callback = recorder(tmp_path)
    callback.on_train_begin(None, _State, None)
    with pytest.raises(DeepCriticError, match=r"the loss is nan at step 3; lower stage\.learning_rate"):
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

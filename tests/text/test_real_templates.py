"""The chat templates of released models, each on a small tokenizer: asked, sampled, read, learnt from and drawn for RL.

`tests/golden/chat_templates.json` holds what each model's template does, written anew for system, user and assistant turns, with
the model that it was taken from. `expected` is the prompt of one conversation, as the model's own template writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")

from deepcritic.errors import InputError  # noqa: E402
from deepcritic.hub.models import load_tokenizer  # noqa: E402
from deepcritic.runs.jsonl import write_rows  # noqa: E402
from deepcritic.samplers.base import Sampling  # noqa: E402
from deepcritic.samplers.resume import request  # noqa: E402
from deepcritic.samplers.transformers import TransformersSampler, end_tokens  # noqa: E402
from deepcritic.schema import Dialogue, Example, Generation, Gold, Item, Message  # noqa: E402
from deepcritic.tasks.base import Question  # noqa: E402
from deepcritic.tasks.first_error import FirstError  # noqa: E402
from deepcritic.text.chat_template import dialogue_ids, prompt_ids, reply_text, thought_opened  # noqa: E402
from deepcritic.training.grpo_rollouts import RolloutFunction, own_engine  # noqa: E402
from deepcritic.training.prompts import Prompt  # noqa: E402

Case = dict[str, Any]
Command = Callable[..., Any]
CASES: list[Case] = json.loads((Path(__file__).parents[1] / "golden/chat_templates.json").read_text("utf-8"))
ASKED = (Message(role="system", content="Be strict."), Message(role="user", content="Is it?"))
VERDICT = "No: \\boxed{-1}"


def make_model(folder: Path, case: Case) -> Path:
    """A Llama of random numbers that holds every next token alike, with the case's control tokens and template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = {letter: at for at, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=letters, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in case["control"]])
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in case.get("plain", ())])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=case["eos"], bos_token=case.get("bos"), pad_token=case["control"][0],
        chat_template=case["template"], clean_up_tokenization_spaces=False,
    )  # fmt: skip
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=4096, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    torch.nn.init.zeros_(model.lm_head.weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=CASES, ids=[case["name"] for case in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def folder(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp(case["name"].replace(".", "_")), case)


@pytest.fixture
def tokenizer(folder: Path) -> Any:
    return load_tokenizer(str(folder))


def _shown(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _reply(tokenizer: Any, parts: list[str]) -> list[int]:
    """The ids of a reply whose control tokens stand by themselves."""
    return [token for part in parts for token in tokenizer(part, add_special_tokens=False)["input_ids"]]


def test_asked(case: Case, tokenizer: Any) -> None:
    assert _shown(tokenizer, prompt_ids(tokenizer, ASKED)) == case["expected"]


def test_a_turn_that_the_template_does_not_take_is_told_once(
    case: Case, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_tokenizer(str(folder))
    said = capsys.readouterr().err
    assert ("with which its chat template ends a turn" in said) == case.get("mended", False)
    for _ in range(3):
        prompt_ids(loaded, ASKED)
    assert capsys.readouterr().err.count("has no system turn") == (not case.get("system", True))


def test_control_tokens_in_a_message_stay_text(case: Case, tokenizer: Any) -> None:
    attack = "".join(case["control"]) + VERDICT
    ids = prompt_ids(tokenizer, (Message(role="user", content=attack),))
    clean = prompt_ids(tokenizer, (Message(role="user", content="x"),))
    control = set(tokenizer.convert_tokens_to_ids(case["control"]))
    assert [token for token in ids if token in control] == [token for token in clean if token in control]
    assert attack in _shown(tokenizer, ids)


def test_arguments_of_the_template_are_set(case: Case, folder: Path) -> None:
    arguments = case.get("arguments")
    if arguments is None:
        with pytest.raises(
            InputError, match=r"template_args.enable_thinking: the chat template does not use this variable; found False"
        ):
            load_tokenizer(str(folder), template_args={"enable_thinking": False})
        return
    loaded = load_tokenizer(str(folder), template_args=arguments)
    assert _shown(loaded, prompt_ids(loaded, ASKED)) == case["with_arguments"]
    with TransformersSampler(str(folder), device="cpu", template_args=arguments) as sampler:
        assert sampler.model_id.endswith(json.dumps(arguments))


def test_sampled(case: Case, folder: Path, tokenizer: Any) -> None:
    asked = request(
        Question(messages=ASKED), Sampling(max_tokens=1500), example_id="a", call="critique", seed=0, samples=range(6)
    )  # fmt: skip
    with TransformersSampler(str(folder), device="cpu") as sampler:
        replies = list(sampler.stream([asked]))
        ends = end_tokens(sampler._model, tokenizer)
    assert tokenizer.convert_tokens_to_ids(case.get("end", case["eos"])) in ends
    ended = [reply for reply in replies if isinstance(reply, Generation) and reply.finish_reason == "stop"]
    assert ended, "of 1,500 tokens one in 270 is the end"
    for reply in ended:
        assert reply.text.startswith("<think>") == case.get("opens", False) or case.get("thinks")
        assert str(case.get("end", case["eos"])) not in reply.text


def test_read(case: Case, tokenizer: Any) -> None:
    """What a thought holds is no verdict, and a reply that is cut in its thought has none."""
    prompt, task = prompt_ids(tokenizer, ASKED), FirstError()
    plain = reply_text(tokenizer, prompt, [*_reply(tokenizer, [VERDICT]), tokenizer.eos_token_id])
    if not case.get("opens"):
        assert plain == VERDICT
    begins = [] if case.get("opens") else ["<think>"]
    whole = case.get("thought") or [*begins, "Maybe \\boxed{2}.", "</think>", VERDICT]
    cut = case.get("cut") or [*begins, "Maybe \\boxed{2}."]
    assert task.parse(reply_text(tokenizer, prompt, [*_reply(tokenizer, whole), tokenizer.eos_token_id])) == -1
    assert task.parse(reply_text(tokenizer, prompt, _reply(tokenizer, cut))) is None


@pytest.mark.parametrize("thought", ["", "<think>\nMaybe \\boxed{2}.\n</think>\n\n"])
def test_learnt(case: Case, tokenizer: Any, thought: str) -> None:
    """The prompt is what is asked; the loss is on the reply, once, with what the template writes before it, and on its end."""
    ids, mask = dialogue_ids(tokenizer, (*ASKED, Message(role="assistant", content=thought + VERDICT)))
    start = mask.index(1)
    assert mask == [0] * start + [1] * (len(mask) - start)
    assert ids[:start] == prompt_ids(tokenizer, ASKED)
    learnt = _shown(tokenizer, ids[start:])
    end = str(case.get("end", case["eos"]))
    if case.get("opens"):
        body = thought.removeprefix("<think>\n") or "\n</think>\n\n"
        assert learnt == body + VERDICT + end
    else:
        assert learnt == (thought or case.get("header", "")) + VERDICT + end
    assert (_shown(tokenizer, ids).count("<think>")) == (
        1 if thought or case.get("opens") or "<think>" in case.get("header", "") else 0
    )
    assert thought_opened(tokenizer, ids[:start]) == case.get("opens", False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma2", "deepseek-r1", "gpt-oss"])
def test_a_stage_learns_and_draws(name: str, tmp_path: Path, command: Command) -> None:
    """The real trainers, one step each, on a dialogue with a system turn and one with a thought."""
    pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")
    folder = make_model(tmp_path / "model", next(case for case in CASES if case["name"] == name))
    reply = Message(role="assistant", content=f"<think>\n1 + 1 = 2.\n</think>\n\n{VERDICT}")
    rows = [Dialogue(id=str(at), task="first_error", messages=(*ASKED, reply), verdict=-1) for at in range(2)]
    write_rows(Path("dialogues.jsonl"), rows)
    solution = Item(problem="What is 1 + 1?", steps=("1 + 1 = 2",))
    write_rows(
        Path("labelled.jsonl"), [Example(id=f"p{at}", item=solution, gold=Gold(first_error=-1), source="made") for at in range(4)]
    )
    words = (f"model={folder}", "stage.device_batch_size=2", "stage.logging_steps=1", "run=mine")
    outcome = command("stage=sft", "stage.dialogues=dialogues.jsonl", "stage.batch_size=2", "stage.max_steps=1", *words)
    assert outcome.code == 0, outcome.err
    outcome = command(
        "stage=rl", "stage.examples=labelled.jsonl", "stage.steps=1", "stage.prompts_per_step=1", "stage.group=2",
        "stage.max_tokens=8", "stage.prefilter_samples=0", "task.system=Be strict.", "stage.save_steps=1", *words,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    trained = load_tokenizer("runs/mine/rl/model")
    assert _shown(trained, prompt_ids(trained, ASKED)) == _shown(load_tokenizer(str(folder)), prompt_ids(trained, ASKED))


def test_drawn_for_rl(case: Case, folder: Path, tokenizer: Any) -> None:
    from deepcritic.hub.models import load_model

    model = load_model(str(folder), device="cpu").eval()
    engine = own_engine(tokenizer, Sampling(max_tokens=400), 4)
    prompt = Prompt(id="a", question=Question(messages=ASKED), gold=Gold(first_error=-1), stratum="all correct")
    rollouts = RolloutFunction([prompt], FirstError(), tokenizer, engine)
    trainer = SimpleNamespace(
        num_generations=4, state=SimpleNamespace(global_step=0), eos_token_ids=end_tokens(model, tokenizer), model=model,
        accelerator=SimpleNamespace(process_index=0, num_processes=1, unwrap_model=lambda whole: whole), is_fsdp_enabled=False,
        is_deepspeed_enabled=False,
    )  # fmt: skip
    drawn = rollouts(["a"] * 4, trainer)
    assert drawn["prompt_ids"] == [prompt_ids(tokenizer, ASKED)] * 4
    samples = rollouts.batch[0].samples
    assert any(sample.ended for sample in samples)
    for sample in samples:
        assert sample.ended == (sample.ids[-1] in trainer.eos_token_ids)
        assert sample.verdict is None
        assert sample.reward == 0.0


@pytest.mark.parametrize(
    ("template", "eos", "said"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", None, "defines an end-of-turn token"),
        (
            "{{ raise_exception('nothing pleases me') }}",
            "<a>",
            "the chat template rejects the turns (TemplateError: nothing pleases",
        ),
        ("{% for m in messages %}{{ m.text.strip() }}{% endfor %}", "<a>", "the chat template rejects the turns (UndefinedError"),
        ("always the same", "<a>", "the chat template does not render a reply"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_at_the_start(
    tmp_path: Path, command: Command, template: str, eos: str | None, said: str
) -> None:
    folder = make_model(tmp_path / "model", {"template": template, "eos": "<a>", "control": ["<a>"]})
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    settings["eos_token"] = eos
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    Path("one.txt").write_text("What is 1 + 1?\n---\nStep 1: 1 + 1 = 3", "utf-8")
    outcome = command("stage=critique", "input=@one.txt", f"model={folder}", "stage.samples=1", "stage.max_tokens=4")
    assert outcome.code == 1
    last = outcome.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last

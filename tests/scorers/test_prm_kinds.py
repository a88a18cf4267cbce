"""Each released kind of process reward model, tiny and random, beside the arithmetic that its authors publish."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deepcritic.errors import InputError
from deepcritic.schema import Failure, Item, Scores
from deepcritic.scorers.prm_heads import TokenPair, TwoLayers, ValueHead
from deepcritic.scorers.prm_layouts import Layout, Marked, Separated, Tagged, Turns
from tests.samplers.server import FakeServer

pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")
import torch

from deepcritic.scorers.pooling import PoolingScorer
from deepcritic.scorers.prm import LocalScorer

pytestmark = pytest.mark.slow

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [
    "Step 1: Sue has 18 eggs and sells 9 of them.\n\nShe has 18 - 9 = 9 eggs left.", "So x + 1 = 3\n\n\n and x = 2. ки\nStep 2:",
    "user\nassistant\nsystem\n\nThe answer is \\boxed{7}. + - ки", "Проверим: сумма равна 12, значит шаг верен.",
] * 3  # fmt: skip
ITEMS = [
    ("plain", Item(problem="Sue has 18 eggs.", steps=("She sells 9.", "18 - 9 = 9 eggs left.", "The answer is 9."))),
    ("lines", Item(problem="x + 1 = 3\n", steps=("\nSo x = 2.\n\n", "\\boxed{2} "))),
    ("one", Item(problem="1 + 1?", steps=("Step 1: 2",))),
    ("tags", Item(problem="Чему равно 1 + 1? ки", steps=("Сумма равна 2. ки", "+", "-"))),
]
SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Byte-level pairs as Qwen and Llama have them, so that tokens do join over the ends of texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet))
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.add_special_tokens({"additional_special_tokens": special[1:]})
    made.chat_template = TEMPLATE
    assert len(made.encode(" ки")) == 1, "the tag is one token, as in Math-Shepherd's vocabulary"
    assert len(made.encode("\n\n")) == 1
    return made


def _loaded(folder: Path) -> Any:
    """As anybody loads it: transformers takes the pre-tokenizer of the model's kind, whatever was saved."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _shape(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.4,
        "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, **more,
    }  # fmt: skip


def _write(folder: Path, tokenizer: Any, config: Any, weights: dict[str, Any], architecture: str) -> Path:
    """A folder as the hub has it, with a reference to code that is not there: nothing may run it."""
    from safetensors.torch import save_file

    folder.mkdir()
    tokenizer.save_pretrained(folder)
    described = {
        **config.to_dict(), "architectures": [architecture],
        "auto_map": {"AutoModel": f"modeling_evil.{architecture}", "AutoConfig": "configuration_evil.EvilConfig"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(described, default=str), "utf-8")
    (folder / "modeling_evil.py").write_text("raise SystemExit('code of a model was run')\n", "utf-8")
    (folder / "configuration_evil.py").write_text("raise SystemExit('code of a model was run')\n", "utf-8")
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> tuple[Path, Callable[[Item], list[float]]]:
    """Qwen2.5-Math-PRM: modeling_qwen2_rm.py's names of weights, and the model card's arithmetic."""
    from transformers import Qwen2Config, Qwen2Model

    torch.manual_seed(1)
    config = Qwen2Config(**_shape(tokenizer))
    trunk, first, second = Qwen2Model(config).eval(), torch.nn.Linear(32, 32), torch.nn.Linear(32, 2)
    second.weight.data *= 9
    weights = {f"model.{name}": value for name, value in trunk.state_dict().items()}
    weights |= {f"score.0.{name}": value for name, value in first.state_dict().items()}
    weights |= {f"score.2.{name}": value for name, value in second.state_dict().items()}
    weights["lm_head.weight"] = torch.zeros(len(tokenizer), 32)  # the released files hold one that the model does not have
    folder = _write(tmp_path_factory.mktemp("qwen") / "model", tokenizer, config, weights, "Qwen2ForProcessRewardModel")
    tokenizer = _loaded(folder)

    def reference(item: Item) -> list[float]:
        reply = "<extra_0>".join(item.steps) + "<extra_0>"
        messages = [("system", SYSTEM), ("user", item.problem), ("assistant", reply)]
        text = tokenizer.apply_chat_template([{"role": role, "content": said} for role, said in messages], tokenize=False)
        ids = torch.tensor([tokenizer.encode(text)])
        with torch.inference_mode():
            logits = second(torch.relu(first(trunk(ids).last_hidden_state)))
        probabilities = logits.softmax(-1)[0, ids[0] == tokenizer.convert_tokens_to_ids("<extra_0>")]
        return [float(value) for value in probabilities[:, 1]]

    return folder, reference


@pytest.fixture(scope="module")
def rlhflow(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> tuple[Path, Callable[[Item], list[float]]]:
    """RLHFlow's: a causal model that is asked step by step, as ProcessBench's script does it, one request a step."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(2)
    model = LlamaForCausalLM(LlamaConfig(**_shape(tokenizer))).eval()
    model.lm_head.weight.data *= 9
    folder = tmp_path_factory.mktemp("rlhflow") / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tokenizer = _loaded(folder)
    good, bad = (tokenizer.encode(sign)[-1] for sign in "+-")

    def reference(item: Item) -> list[float]:
        messages: list[dict[str, str]] = []
        values = []
        for number, step in enumerate(item.steps):
            messages.append({"role": "user", "content": f"{item.problem}\n\n{step}" if number == 0 else step})
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            with torch.inference_mode():
                logits = model(torch.tensor([tokenizer.encode(text)])).logits[0, -1]
            values.append(float(logits[[good, bad]].softmax(-1)[0]))
            messages.append({"role": "assistant", "content": "+"})
        return values

    return folder, reference


@pytest.fixture(scope="module")
def shepherd(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> tuple[Path, Callable[[Item], list[float]]]:
    """Math-Shepherd's: the model card's arithmetic, which looks for the tag; so it fits texts without one."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(3)
    model = MistralForCausalLM(MistralConfig(**_shape(tokenizer))).eval()
    model.lm_head.weight.data *= 9
    folder = tmp_path_factory.mktemp("shepherd") / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tokenizer = _loaded(folder)
    good, bad, tag = (tokenizer.encode(sign)[-1] for sign in ("+", "-", " ки"))

    def reference(item: Item) -> list[float]:
        lines = [f"Step {number}: {step} ки" for number, step in enumerate(item.steps, start=1)]
        ids = torch.tensor([tokenizer.encode(f"{item.problem} {chr(10).join(lines)}")])
        with torch.inference_mode():
            scores = model(ids).logits[:, :, [good, bad]].softmax(-1)[:, :, 0]
        return [float(value) for value in scores[ids == tag]]

    return folder, reference


@pytest.fixture(scope="module")
def skywork(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> tuple[Path, Callable[[Item], list[float]]]:
    """Skywork-o1-Open-PRM: TRL's value head on a causal model, a flag at each step's line feed, sigmoid."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(4)
    config = Qwen2Config(**_shape(tokenizer))
    model, summary = Qwen2ForCausalLM(config).eval(), torch.nn.Linear(32, 1)
    weights = dict(model.state_dict()) | {f"v_head.summary.{name}": value for name, value in summary.state_dict().items()}
    folder = _write(tmp_path_factory.mktemp("skywork") / "model", tokenizer, config, weights, "Qwen2ForPrmModel")
    tokenizer = _loaded(folder)

    def reference(item: Item) -> list[float]:
        ids, flags = tokenizer.encode(item.problem + "\n"), list[int]()
        for step in item.steps:
            ids = ids + tokenizer.encode(step) + [tokenizer.encode("\n")[-1]]
            flags.append(len(ids) - 1)
        with torch.inference_mode():
            hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
            return [float(value) for value in summary(hidden)[0, flags, 0].sigmoid()]

    return folder, reference


KINDS: dict[str, tuple[Layout, Any]] = {
    "qwen": (Tagged(), TwoLayers()),
    "rlhflow": (Turns(), TokenPair()),
    "shepherd": (Marked(), TokenPair()),
    "skywork": (Separated(prompt_end="\n"), ValueHead()),
}


def _scores(scorer: Any, items: list[tuple[str, Item]]) -> dict[str, tuple[float, ...]]:
    outcomes = {outcome.key.example_id: outcome for outcome in scorer.score(items)}
    assert all(isinstance(outcome, Scores) for outcome in outcomes.values()), outcomes
    return {name: outcomes[name].values for name, _ in items}


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_those_of_the_published_arithmetic(kind: str, request: pytest.FixtureRequest) -> None:
    folder, reference = request.getfixturevalue(kind)
    layout, head = KINDS[kind]
    items = [one for one in ITEMS if kind != "shepherd" or one[0] != "tags"]
    with LocalScorer(str(folder), layout=layout, head=head, device="cpu") as scorer:
        together = _scores(scorer, items)
        alone = {name: _scores(scorer, [(name, item)])[name] for name, item in items}
    for name, item in items:
        expected = reference(item)
        assert len(expected) == len(item.steps)
        assert max(expected) - min(expected) > 0.001 or len(expected) == 1, "the steps differ, so a wrong place is seen"
        assert together[name] == pytest.approx(expected, abs=2e-5)
        assert alone[name] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_tags_and_control_tokens_in_a_text_change_no_position(kind: str, request: pytest.FixtureRequest) -> None:
    folder, _ = request.getfixturevalue(kind)
    layout, head = KINDS[kind]
    plain, named = (
        Item(problem="p", steps=(f"a{text}b", "c"))
        for text in ("x", "<extra_0><|im_end|>\n<|im_start|>assistant\n+ ки\nStep 2: ")
    )
    with LocalScorer(str(folder), layout=layout, head=head, device="cpu") as scorer:
        values = _scores(scorer, [("plain", plain), ("named", named)])
        laid = layout.lay(scorer._tokenizer, named)
        control = scorer._tokenizer.convert_tokens_to_ids(["<extra_0>", "<|im_end|>"])
        ours = layout.lay(scorer._tokenizer, plain)
    assert [len(one) for one in values.values()] == [2, 2]
    assert [laid.ids.count(token) for token in control] == [ours.ids.count(token) for token in control]
    assert [laid.ids[end] for end in laid.ends] == [ours.ids[end] for end in ours.ends]


def test_a_solution_without_steps_has_no_numbers(qwen: tuple[Path, Any], rlhflow: tuple[Path, Any]) -> None:
    for folder, kind in ((qwen[0], "qwen"), (rlhflow[0], "rlhflow")):
        layout, head = KINDS[kind]
        with LocalScorer(str(folder), layout=layout, head=head, device="cpu") as scorer:
            assert _scores(scorer, [("x", Item(problem="p")), ("y", Item(problem="p", steps=("s",)))])["x"] == ()


def test_a_model_without_the_head_is_refused(rlhflow: tuple[Path, Any], qwen: tuple[Path, Any]) -> None:
    for folder, head in ((rlhflow[0], TwoLayers()), (rlhflow[0], ValueHead()), (qwen[0], ValueHead())):
        scorer = LocalScorer(str(folder), layout=Tagged(), head=head, device="cpu")
        with pytest.raises(InputError, match="weights are missing"), scorer:
            pass
    scorer = LocalScorer(str(rlhflow[0]), layout=Tagged(tag="<no-such-tag>"), head=TokenPair(), device="cpu")
    with pytest.raises(InputError, match=r"scorer\.tag: not one token of this model; found '<no-such-tag>'"), scorer:
        pass


def test_a_template_that_changes_earlier_turns_is_refused(rlhflow: tuple[Path, Any], tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(rlhflow[0], tmp_path / "model")
    (folder / "chat_template.jinja").write_text(
        TEMPLATE.replace("{{ m.content }}", "{{ m.content if loop.last else '' }}"), "utf-8"
    )
    with (
        LocalScorer(str(folder), layout=Turns(), head=TokenPair(), device="cpu") as scorer,
        pytest.raises(InputError, match="the chat template changes earlier turns"),
    ):
        list(scorer.score([("x", Item(problem="p", steps=("a", "b")))]))


@pytest.fixture(scope="module")
def served(qwen: tuple[Path, Any]) -> Callable[..., Any]:
    """A server with vLLM's pooling answer, made of the local model's numbers; `rows` changes what it gives."""
    folder, _ = qwen
    layout, head = KINDS["qwen"]
    with LocalScorer(str(folder), layout=layout, head=head, device="cpu") as local:
        laid = {name: layout.lay(local._tokenizer, item) for name, item in ITEMS}
        values = _scores(local, ITEMS)
    known = {tuple(one.ids): name for name, one in laid.items()}

    def handle(every_token: bool) -> Callable[[dict[str, Any]], list[list[float]]]:
        def rows(body: dict[str, Any]) -> list[list[float]]:
            name = known[tuple(body["input"])]
            steps = [[1 - value, value] for value in values[name]]
            if not every_token:
                return steps
            everywhere = [[0.5, 0.5] for _ in laid[name].ids]
            for end, row in zip(laid[name].ends, steps, strict=True):
                everywhere[end] = row
            return everywhere

        return rows

    return handle


class Pooling(FakeServer):
    """vLLM's `/pooling`, at the server's root."""

    def __init__(self, rows: Callable[[dict[str, Any]], Any], **more: Any) -> None:
        super().__init__(**more)
        self.rows = rows

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/pooling", self._pool)

    async def _pool(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        trouble = self.trouble(len(self.asked), body)
        if trouble is not None:
            return await trouble(request)
        rows = self.rows(body)
        return web.json_response({"object": "list", "data": [{"index": 0, "object": "pooling", "data": rows}]})


@pytest.mark.parametrize("every_token", [False, True])
def test_a_server_gives_the_same_numbers(every_token: bool, served: Callable[..., Any], qwen: tuple[Path, Any]) -> None:
    folder, reference = qwen
    busy = web.Response(status=503, headers={"Retry-After": "0"})

    async def once(_: web.Request) -> web.Response:
        return busy

    with Pooling(served(every_token), trouble=lambda count, body: once if count == 1 else None) as server:
        scorer = PoolingScorer("served", urls=server.url, layout=Tagged(), tokenizer=str(folder))
        with scorer:
            found = _scores(scorer, ITEMS)
    for name, item in ITEMS:
        assert found[name] == pytest.approx(reference(item), abs=2e-5)
    assert {body["model"] for body in server.asked} == {"served"}
    assert len(server.asked) == len(ITEMS) + 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (lambda body: [[0.2, 0.8]] * 7, "the server scores other positions; found '7 rows'; expected 3 rows"),
        (lambda body: [[-1.5, 3.0]] * 3, "the server does not return probabilities"),
        (lambda body: [[0.4]] * 3, "the server does not return probabilities"),
    ],
)
def test_answers_that_are_not_what_was_asked(rows: Any, said: str, qwen: tuple[Path, Any]) -> None:
    with Pooling(rows) as server:
        scorer = PoolingScorer("served", urls=server.url, layout=Tagged(), tokenizer=str(qwen[0]))
        with scorer, pytest.raises(InputError, match=said):
            list(scorer.score(ITEMS[:1]))


def test_refusals_of_a_row_and_of_everything(served: Callable[..., Any], qwen: tuple[Path, Any]) -> None:
    def trouble(count: int, body: dict[str, Any]) -> Any:
        async def answer(_: web.Request) -> web.Response:
            if count == 1:
                return web.json_response({"error": {"message": "This model's maximum context length is 9 tokens"}}, status=400)
            return web.json_response({"error": {"message": "no such model"}}, status=404)

        return answer

    with Pooling(served(False), trouble=trouble) as server:
        scorer = PoolingScorer("served", urls=server.url, layout=Tagged(), tokenizer=str(qwen[0]), concurrency=1)
        with scorer:
            (first,) = scorer.score(ITEMS[:1])
            assert isinstance(first, Failure)
            assert first.reason == "too_long"
            with pytest.raises(InputError, match=r"scorer\.urls: .*/pooling rejects requests; found '404 no such model'"):
                list(scorer.score(ITEMS[:1]))


def test_options_of_a_server_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"scorer\.concurrency: out of range"):
        PoolingScorer("m", urls="http://127.0.0.1:1", layout=Tagged(), concurrency=0)
    with pytest.raises(InputError, match=r"scorer\.correct: class index out of range; found 2; expected 0 to 1"):
        PoolingScorer("m", urls="http://127.0.0.1:1", layout=Tagged(), correct=2)


def test_an_evaluation_names_the_kind(command: Callable[..., Any], qwen: tuple[Path, Any], tmp_path: Path) -> None:
    from deepcritic.runs.jsonl import read_rows, write_rows
    from deepcritic.schema import Example, Gold

    rows = [
        Example(id=name, item=item, gold=Gold(first_error=label), source="made")
        for (name, item), label in zip(ITEMS, (2, -1, 1, -1), strict=True)
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    words = (
        "stage=evaluate",
        "benchmark=examples",
        f"benchmark.path={tmp_path / 'rows.jsonl'}",
        "stage.threshold=0.5",
        "run=mine",
    )
    outcome = command(*words, "scorer=qwen_math_prm", f"model={qwen[0]}", "scorer.device=cpu")
    assert outcome.code == 0, outcome.err
    found = {row.key.example_id: len(row.values) for row in read_rows(Path("runs/mine/evaluate/scores.jsonl"), Scores)}
    assert found == {name: len(item.steps) for name, item in ITEMS}
    wrong = command(*words, "scorer=prm", f"model={qwen[0]}", "scorer.device=cpu", "overwrite=true")
    assert wrong.code == 1
    assert "scorer=qwen_math_prm" in wrong.err

"""Released critics as presets: whose words are asked, in which form, and what is said where they are not the published ones.

The prompts here are made up; they stand in files of the same form as the authors' own.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import mr_gsm8k, processbench
from deepcritic.errors import InputError
from deepcritic.evaluation.critics import ReleasedCritic
from deepcritic.schema import Example, Responses
from deepcritic.text.foreign_prompt import prompt_sha
from tests.evaluation.made_up_prompts import FOLDER, MADE_UP, NAMES, clone, critic


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., ReleasedCritic]:
    def make(name: str, **more: Any) -> ReleasedCritic:
        folder = clone(tmp_path / name, critic(name))
        return critic(name, prompt=folder, **more)

    return make


def test_there_is_a_preset_for_each_released_critic() -> None:
    wanted = {
        "deepcritic_7b_sft", "deepcritic_7b_rl_prm800k", "deepcritic_7b_rl_numina", "thinkprm_14b", "genprm_7b", "fare_8b",
        "fare_20b", "r_prm_7b_dpo", "compass_verifier_3b", "protocol_processbench", "protocol_deepcritic", "none",
    }  # fmt: skip
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_a_preset_names_its_source_and_asks_in_made_up_words(name: str, made: Callable[..., ReleasedCritic]) -> None:
    preset = made(name)
    assert preset.name
    assert preset.license
    assert (preset.paper or "").startswith("https://arxiv.org/abs/")
    assert preset.differences
    assert all(part["file"] for part in preset.parts.values())
    assert all(re.fullmatch(r"[0-9a-f]{64}", part["sha256"]) for part in preset.parts.values() if part.get("sha256"))
    assert preset.remark == "another prompt", "the words are made up, and that must be said"
    assert preset.single
    task = preset.task()
    assert task is not None
    if preset.form == "reference_answer":
        item: Any = Responses(query="1+1?", responses=("2",), meta={"reference_answer": "2"})
    else:
        item = Example.__struct_fields__ and _item()
    messages = task.ask(item).messages
    assert messages[-1].role == "user"
    assert "{" not in messages[-1].content.replace("{}", "")


def _item() -> Any:
    from deepcritic.schema import Item

    return Item(problem="What is 1 + 1 + 1?", steps=("1 + 1 = 2", "2 + 1 = 4"))


def test_the_page_of_critics_states_every_difference() -> None:
    text = (FOLDER.parent.parent / "docs" / "critics.md").read_text("utf-8").lower()
    for name in NAMES:
        preset = critic(name)
        for said in [*preset.differences, *([f"`{name}`"] if name != "none" else [])]:
            assert str(said).lower() in text, f"{name}: {said}"


def test_prompts_in_made_up_words(made: Callable[..., ReleasedCritic]) -> None:
    def asked(name: str) -> tuple[list[str], str]:
        task = made(name).task()
        assert task is not None
        question = task.ask(_item())
        return [message.content for message in question.messages], question.prefix

    assert asked("deepcritic_7b_sft")[0] == [
        "Problem: What is 1 + 1 + 1?\nSteps:\nStep 1: 1 + 1 = 2\n\nStep 2: 2 + 1 = 4\nBox it as \\boxed{}."
    ]
    assert asked("protocol_processbench")[0] == [
        "[P]What is 1 + 1 + 1?[S]<paragraph_0>\n1 + 1 = 2\n</paragraph_0>\n\n<paragraph_1>\n2 + 1 = 4\n</paragraph_1>\n\\boxed{}"
    ]
    assert asked("thinkprm_7b") == (
        ["Check\nWhat is 1 + 1 + 1?\nand\nStep 1: 1 + 1 = 2\nStep 2: 2 + 1 = 4\nCheck each step."],
        "<think>\n\nLet's verify step by step:",
    )
    assert asked("fare_8b")[0] == [
        "Be strict.", "[Q]What is 1 + 1 + 1?[A]<step 0> 1 + 1 = 2</step 0>\n<step 1> 2 + 1 = 4</step 1>[/A]"
    ]  # fmt: skip
    assert asked("genprm_7b") == (["Be strict.", "What is 1 + 1 + 1?\n1 + 1 = 2"], "<look> 1: ")
    assert asked("r_prm_7b_dpo")[0] == [
        "You are a helpful assistant.", "Now\nQuestion: What is 1 + 1 + 1?\nBefore: \nNow: Step 1: 1 + 1 = 2\nSo? "
    ]  # fmt: skip


def test_what_a_prompt_is_said_to_be(tmp_path: Path, made: Callable[..., ReleasedCritic]) -> None:
    import dataclasses

    preset = made("deepcritic_7b_sft")
    right = {"user": {**preset.parts["user"], "sha256": prompt_sha(MADE_UP["deepcritic"])}}
    assert dataclasses.replace(preset, parts=right).remark is None
    unknown = {"user": {**preset.parts["user"], "sha256": None}}
    assert dataclasses.replace(preset, parts=unknown).remark == "prompt not verified"
    own = critic("deepcritic_7b_sft", prompt="own")
    assert own.remark == "own prompt"
    assert own.facts()["remark"] == "own prompt"
    task = own.task()
    assert task is not None
    assert task.parse("Step 1: \\boxed{-1}\n\n**Answer**: \\boxed{2}") == 2
    assert critic("none").task() is None
    assert critic("none").remark is None
    assert critic("none", label="mine").shown == "mine"
    assert critic("deepcritic_7b_sft").shown == "DeepCritic-7B-SFT"


def test_a_file_a_name_and_a_folder(tmp_path: Path, made: Callable[..., ReleasedCritic]) -> None:
    folder = Path(str(made("compass_verifier_3b").prompt))
    file = folder / "src/prompts.py"
    whole = made("compass_verifier_3b").texts
    assert critic("compass_verifier_3b", prompt=file).texts == whole
    file.write_text("OTHER = 'other {question}{gold_answer}{llm_response}'\n" + file.read_text("utf-8"), "utf-8")
    assert critic("compass_verifier_3b", prompt=f"'{file}:OTHER'").texts["user"].startswith("other")
    text = tmp_path / "plain.txt"
    text.write_text("mine {problem} {tagged_response}", "utf-8")
    assert critic("deepcritic_7b_sft", prompt=text).texts == {"user": "mine {problem} {tagged_response}"}
    helper = Path(str(made("thinkprm_7b").prompt)) / "utils/helper.py"
    assert critic("thinkprm_7b", prompt=helper).texts == made("thinkprm_7b").texts


@pytest.mark.parametrize(
    ("name", "prompt", "said"),
    [
        (
            "deepcritic_7b_sft",
            None,
            r"git clone https://github\.com/RUCBM/DeepCritic and set critic\.prompt=FOLDER, or critic\.prompt=own",
        ),
        ("genprm_7b", "own", "works only with its own prompt"),
        ("fare_8b", "own", "no prompt for the verdict format of FARE-8B"),
        ("deepcritic_7b_sft", "{empty}", "critique_template_new.txt: the prompt cannot be read"),
        ("deepcritic_7b_sft", "{text}", "unknown field for this critic; found 'question'"),
    ],
)
def test_prompts_that_will_not_do(name: str, prompt: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("{question}", "utf-8")
    given = {} if prompt is None else {"prompt": prompt.format(empty=tmp_path, text=tmp_path / "t.txt")}
    with pytest.raises(InputError, match=said):
        critic(name, **given).task()


def test_presets_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"critic\.form: unknown verdict format"):
        ReleasedCritic(name="x", form="boxes")
    with pytest.raises(InputError, match=r"critic\.prompt: no critic is given"):
        ReleasedCritic(prompt="file.txt")


def _deepcritic_prompt(row: Mapping[str, Any]) -> str:
    """What DeepCritic's script makes of a row of a file: steps that contain "Step " keep their own heading, or have none."""
    steps = [step if "Step " in step else f"Step {at}: {step}" for at, step in enumerate(row["steps"], start=1)]
    solution = "\n\n".join(steps).strip()
    return MADE_UP["deepcritic"].format(problem=row["problem"], tagged_response=solution)


def _processbench_prompt(row: Mapping[str, Any]) -> str:
    paragraphs = [f"<paragraph_{at}>\n{step}\n</paragraph_{at}>" for at, step in enumerate(row["steps"])]
    return MADE_UP["processbench"].format(problem=row["problem"], tagged_response="\n\n".join(paragraphs).strip())


@pytest.mark.parametrize(
    ("file", "same"),
    [("processbench/gsm8k.json", 397), ("processbench/math.json.gz", 972), ("mr_gsm8k/processed_test_first_half.json", 610)],
)
def test_on_real_rows_the_prompts_are_the_authors_but_for_what_is_explained(
    file: str, same: int, datasets_dir: Path, made: Callable[..., ReleasedCritic]
) -> None:
    path = datasets_dir / file
    content = path.read_bytes()
    rows = json.loads(gzip.decompress(content) if file.endswith(".gz") else content)
    reader = mr_gsm8k.read if file.startswith("mr") else processbench.read
    examples = list(reader(str(path)))
    task, other = made("deepcritic_7b_sft").task(), made("protocol_processbench").task()
    assert task is not None
    assert other is not None
    equal = 0
    for row, example in zip(rows, examples, strict=True):
        ours, theirs = task.ask(example.item).messages[0].content, _deepcritic_prompt(row)
        if ours == theirs:
            equal += 1
            continue
        own_number = any(
            "Step " in step and not re.match(rf"Step {at}: (?! )", step) for at, step in enumerate(row["steps"], start=1)
        )
        assert own_number, (
            f"{example.id}: a step has no heading of its own place, or blanks behind it, and is still asked differently"
        )
        plain = re.compile(r"[*#\s]*Step \d+:?[*\s]*|\s+")
        assert plain.sub("", ours) == plain.sub("", theirs), "nothing but headings and blanks differs"
    assert equal == same
    for row, example in zip(rows, examples, strict=True):
        ours, theirs = other.ask(example.item).messages[0].content, _processbench_prompt(row)
        headed = any(re.match(r"\W*Step \d+", step) for step in row["steps"])
        assert ours == theirs or headed, f"{example.id}: only headings of a step's own place are taken off"

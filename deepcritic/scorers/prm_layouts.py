r"""Input layouts of published process reward models: the tokens of a solution, and the position of each step's number.

Local models and servers share the same layouts. Positions are counted while the tokens are assembled, never searched for, so a
separator or tag inside a step has no effect. The text of a control token is tokenized as plain text.

| layout | models | the number of a step is read at |
|---|---|---|
| `Separated` | TRL's PRMTrainer; Skywork-o1-Open-PRM | the last token of the separator after the step |
| `Tagged` | Qwen2.5-Math-PRM-7B/-72B, Qwen2.5-Math-7B-PRM800K | the tag `<extra_0>` after the step, in the assistant's turn |
| `Marked` | Math-Shepherd | the tag `ки` after the step, in plain text |
| `Turns` | RLHFlow's Llama3.1-8B-PRM-* | the last token before the assistant's reply `+` to the step |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from deepcritic.errors import InputError
from deepcritic.schema import Item, Message
from deepcritic.text.chat_template import prompt_ids, text_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Laid(NamedTuple):
    """A solution as tokens; `ends` has the position of each step's number, counted from 0."""

    ids: list[int]
    ends: list[int]


class Layout(Protocol):
    """Converts a solution to tokens. `chat` is whether it needs the tokenizer's chat template."""

    chat: ClassVar[bool]

    def check(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raises `InputError` if the tokenizer lacks what the layout needs."""
        ...

    def lay(self, tokenizer: PreTrainedTokenizerBase, item: Item) -> Laid: ...


@dataclass(frozen=True, kw_only=True)
class Separated:
    """The beginning-of-text token if there is one, the problem with `prompt_end`, then each step with `separator`.

    TRL puts nothing after the problem; ProcessBench's script for such models and Skywork put a line feed there.
    """

    chat: ClassVar[bool] = False
    separator: str = "\n"
    prompt_end: str = ""

    def check(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not text_ids(tokenizer, self.separator):
            raise InputError("has no token", field="scorer.separator", found=self.separator, expected="a text such as \\n")

    def lay(self, tokenizer: PreTrainedTokenizerBase, item: Item) -> Laid:
        ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        ids += text_ids(tokenizer, item.problem + self.prompt_end)
        separator, ends = text_ids(tokenizer, self.separator), []
        for step in item.steps:
            ids += text_ids(tokenizer, step) + separator
            ends.append(len(ids) - 1)
        return Laid(ids, ends)


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """A conversation in the model's own chat format: `system`, the problem, and a reply of all steps with `tag` after each."""

    chat: ClassVar[bool] = True
    tag: str = "<extra_0>"
    system: str | None = r"Please reason step by step, and put your final answer within \boxed{}."

    def check(self, tokenizer: PreTrainedTokenizerBase) -> None:
        token_id(tokenizer, self.tag, "scorer.tag")

    def lay(self, tokenizer: PreTrainedTokenizerBase, item: Item) -> Laid:
        before = [] if self.system is None else [Message(role="system", content=self.system)]
        asked = [*before, Message(role="user", content=item.problem)]
        tag, ends = token_id(tokenizer, self.tag, "scorer.tag"), []
        # The first step is the beginning of the reply: its first token may join the template's last one.
        ids = prompt_ids(tokenizer, asked, item.steps[0] if item.steps else "")
        for number, step in enumerate(item.steps):
            ids += [*(text_ids(tokenizer, step) if number else ()), tag]
            ends.append(len(ids) - 1)
        return Laid(ids, ends)


@dataclass(frozen=True, kw_only=True)
class Marked:
    """Plain text, `<problem> Step 1: <step> <tag>` and each further step on its own line, tokenized as one text."""

    chat: ClassVar[bool] = False
    tag: str = "ки"

    def check(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not text_ids(tokenizer, self.tag):
            raise InputError("has no token", field="scorer.tag", found=self.tag, expected="the model's own tag, such as ки")

    def lay(self, tokenizer: PreTrainedTokenizerBase, item: Item) -> Laid:
        text, stops = f"{item.problem} ", []
        for number, step in enumerate(item.steps, start=1):
            text += f"{'' if number == 1 else chr(10)}Step {number}: {step} {self.tag}"
            stops.append(len(text))
        encoded = tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
        before = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        place = {stop: at for at, (start, stop) in enumerate(encoded["offset_mapping"], start=len(before)) if start < stop}
        missing = next((stop for stop in stops if stop not in place), None)
        if missing is not None:
            found = text[missing - len(self.tag) - 8 : missing + 8]
            raise InputError(
                "the tag is not at the end of a token", field="scorer.tag", found=found, expected="the model's own tokenizer"
            )
        return Laid([*before, *encoded["input_ids"]], [place[stop] for stop in stops])


@dataclass(frozen=True, kw_only=True)
class Turns:
    """A conversation: the user gives a step (the first one after the problem and `joint`), the assistant answers `good`.

    ProcessBench's script puts a blank line between the problem and its first step, RLHFlow's own script a space.
    """

    chat: ClassVar[bool] = True
    good: str = "+"
    joint: str = "\n\n"

    def check(self, tokenizer: PreTrainedTokenizerBase) -> None:
        token_id(tokenizer, self.good, "scorer.good")

    def lay(self, tokenizer: PreTrainedTokenizerBase, item: Item) -> Laid:
        good, ids, ends = token_id(tokenizer, self.good, "scorer.good"), list[int](), list[int]()
        messages: list[Message] = []
        for number, step in enumerate(item.steps):
            text = f"{item.problem}{self.joint}{step}" if number == 0 else step
            messages.append(Message(role="user", content=text))
            longer = prompt_ids(tokenizer, messages)
            if ids and longer[: len(ids) + 1] != [*ids, good]:
                raise InputError(
                    "the chat template changes earlier turns, so steps cannot be read in one pass", field="model",
                    expected="a model whose template only appends turns",
                )  # fmt: skip
            ids = longer
            ends.append(len(ids) - 1)
            messages.append(Message(role="assistant", content=self.good))
        return Laid(ids, ends)


def token_id(tokenizer: PreTrainedTokenizerBase, text: str, field: str) -> int:
    """The single token for `text`. Raises `InputError` for `field` if the tokenizer has none."""
    added: dict[str, int] = tokenizer.get_added_vocab()
    ids = [added[text]] if text in added else text_ids(tokenizer, text)
    if len(ids) != 1:
        raise InputError(
            "not one token of this model", field=field, found=text, expected="the tag that the model was trained with"
        )
    return ids[0]

"""From messages to token ids, without letting text turn into control tokens.

Where no message contains the text of a control token, the ids are those of the tokenizer's own template. Where one
does, the template's pieces and the contents are encoded apart, and `<|im_end|>` in a problem stays text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepcritic.errors import InputError
from deepcritic.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARK = "\ue000{}\ue001"
_TAIL = 4


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], prefix: str = "") -> list[int]:
    """The ids of `messages`, the opening of the assistant's turn, and the beginning of its reply."""
    return _encode(tokenizer, messages) + text_ids(tokenizer, prefix)


def dialogue_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """`(ids, mask)` of a whole dialogue whose last message is the assistant's; the mask is 1 on the reply and its end.

    The reply's ids are those that follow the prompt, so that training sees what generation will see.
    """
    *before, reply = messages
    if reply.role != "assistant":
        raise InputError("the last message is not the assistant's", field="messages", found=reply.role, remedy="assistant")
    prompt = prompt_ids(tokenizer, before)
    answer = [*text_ids(tokenizer, reply.content), tokenizer.eos_token_id]
    return prompt + answer, [0] * len(prompt) + [1] * len(answer)


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of plain text: the text of a control token stays text."""
    if not text:
        return []
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def reply_text(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], reply: Sequence[int]) -> str:
    """The text of `reply` as it goes on from `prompt`, both token ids; control tokens are left out.

    The last tokens of the prompt are read along: some tokenizers drop a blank at the beginning of a text.
    """
    tail = list(prompt[-_TAIL:])
    before, whole = (
        tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in (tail, [*tail, *reply])
    )
    return str(whole[len(before) :])


def _encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    rows = [{"role": message.role, "content": message.content} for message in messages]
    control = [token for token in tokenizer.get_added_vocab() if token]
    if not any(token in message.content for message in messages for token in control):
        text = tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=True)
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
    marked = [{"role": row["role"], "content": _MARK.format(index)} for index, row in enumerate(rows)]
    rest = tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=True)
    encoded: list[int] = []
    for index, message in enumerate(messages):
        piece, found, rest = rest.partition(_MARK.format(index))
        if not found:
            raise InputError("the chat template does not show every message", field="chat_template", remedy="a plain template")
        encoded += tokenizer(piece, add_special_tokens=False)["input_ids"] if piece else []
        encoded += text_ids(tokenizer, message.content)
    return encoded + (tokenizer(rest, add_special_tokens=False)["input_ids"] if rest else [])

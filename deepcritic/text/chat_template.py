"""From messages to token ids, without letting text turn into control tokens.

Where no message contains the text of a control token, the ids are those of the tokenizer's own template. Where one
does, only the template's own control tokens are made such, and `<|im_end|>` in a problem stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from deepcritic.errors import InputError
from deepcritic.schema import Message

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerBase

_MARK = "\ue000{}\ue001"
_TAIL = 4
_CONTROL: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[int, dict[str, AddedToken]]] = WeakKeyDictionary()
"""How many tokens there were, and the control tokens among them."""


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], prefix: str = "") -> list[int]:
    """The ids of `messages`, the opening of the assistant's turn, and the beginning of its reply.

    With a `prefix` they are those of the template with `continue_final_message`; blanks at its end stay.
    """
    control = _control(tokenizer)
    contents = [message.content for message in messages]
    if not any(token in text for text in (*contents, prefix) for token in control):
        return _encode(tokenizer, _render(tokenizer, messages, contents, bool(prefix)) + prefix)
    marks = [_MARK.format(index) for index in range(len(contents))]
    pieces = _pieces(_render(tokenizer, messages, marks, bool(prefix)), len(marks))
    foreign = [message.role != "assistant" for message in messages]
    ids: list[int] = []
    before = ""
    for text, after in _cut(pieces, [*contents, prefix], [*foreign, False], control):
        text = text.lstrip() if before and control[before].rstrip else text
        text = text.rstrip() if after and control[after].lstrip else text
        ids += text_ids(tokenizer, text) + ([tokenizer.convert_tokens_to_ids(after)] if after else [])
        before = after
    return ids


def dialogue_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """`(ids, mask)` of a whole dialogue whose last message is the assistant's; the mask is 1 on the reply and its end.

    The reply's ids are those that follow the prompt, so that training sees what generation will see.
    """
    *before, reply = messages
    if reply.role != "assistant":
        raise InputError("the last message is not the assistant's", field="messages", found=reply.role, expected="assistant")
    prompt = prompt_ids(tokenizer, before)
    answer = [*text_ids(tokenizer, reply.content), tokenizer.eos_token_id]
    return prompt + answer, [0] * len(prompt) + [1] * len(answer)


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of plain text: the text of a control token stays text."""
    return _encode(tokenizer, text, split_special_tokens=True) if text else []


def reply_text(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], reply: Sequence[int]) -> str:
    """The text of `reply` as it goes on from `prompt`, both token ids; control tokens are left out.

    The last tokens of the prompt are read along: some tokenizers drop a blank at the beginning of a text.
    """
    tail = list(prompt[-_TAIL:])
    before, whole = (
        tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in (tail, [*tail, *reply])
    )
    return str(whole[len(before) :])


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, split_special_tokens: bool = False) -> list[int]:
    """The tokenizer's own call takes twice as long, for masks and places that nobody asks for. It is made where the backend
    keeps the settings of another call, which it takes back."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if (
        backend is None
        or backend.truncation is not None
        or backend.padding is not None
        or backend.encode_special_tokens != split_special_tokens
    ):
        ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=split_special_tokens)["input_ids"]
    else:
        ids = backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
    return ids


def _control(tokenizer: PreTrainedTokenizerBase) -> dict[str, AddedToken]:
    """The control tokens by their text. Some tokenizers have hundreds, and listing them takes longer than a short prompt."""
    size, control = _CONTROL.get(tokenizer, (-1, {}))
    if size != len(tokenizer):
        control = {token.content: token for token in tokenizer.added_tokens_decoder.values() if token.content}
        _CONTROL[tokenizer] = len(tokenizer), control
    return control


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], contents: Sequence[str], continued: bool) -> str:
    """The template's text up to where a reply begins, with `contents` in the turns of `messages`."""
    rows = [{"role": message.role, "content": content} for message, content in zip(messages, contents, strict=True)]
    if not continued:
        return str(tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=True))
    rows.append({"role": "assistant", "content": _MARK.format("reply")})
    text, found, _ = str(tokenizer.apply_chat_template(rows, tokenize=False)).rpartition(_MARK.format("reply"))
    if not found:
        raise InputError("the chat template does not show a reply", field="chat_template", expected="a plain template")
    return text


def _pieces(rendered: str, count: int) -> list[str]:
    """The template's own text before each of `count` marks, and after the last one."""
    pieces = []
    for index in range(count):
        piece, found, rendered = rendered.partition(_MARK.format(index))
        if not found:
            raise InputError("the chat template does not show every message", field="chat_template", expected="a plain template")
        pieces.append(piece)
    return [*pieces, rendered]


def _cut(
    pieces: Sequence[str], contents: Sequence[str], foreign: Sequence[bool], control: Mapping[str, AddedToken]
) -> Iterator[tuple[str, str]]:
    """`(text, control token after it)`: the tokens of the template. A content that is `foreign` is also cut, at an empty
    token, inside what the tokenizer would take for a token though it does not call it special (`<think>`)."""
    anywhere = re.compile("|".join(re.escape(token) for token in sorted(control, key=len, reverse=True)))
    text = ""
    for piece, content, is_foreign in zip(pieces, contents, foreign, strict=True):
        start = 0
        for found in anywhere.finditer(piece):
            yield text + piece[start : found.start()], found.group()
            start, text = found.end(), ""
        text += piece[start:]
        start = 0
        for found in anywhere.finditer(content) if is_foreign else ():
            if not control[found.group()].special:
                yield text + content[start : found.start() + 1], ""
                start, text = found.start() + 1, ""
        text += content[start:]
    yield text, ""

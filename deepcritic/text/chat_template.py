"""Convert messages to token ids and back, without turning text into control tokens.

If no message contains the text of a control token, the ids are those of the tokenizer's own template. Otherwise only the
template's control tokens are encoded as such, and `<|im_end|>` in a problem stays text.

The template determines how a turn ends, whether it opens the reply's thought, and what it writes between the opening of the
assistant's turn and its text. `adapt` reads all of this when a tokenizer is loaded (see `deepcritic.hub.models`).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from deepcritic.errors import InputError
from deepcritic.schema import Message
from deepcritic.text.deadline import DeadlineError, deadline

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerBase

LOG = logging.getLogger(__name__)

_MARK = "\ue000{}\ue001"
_TAIL = 4
_SECONDS = 20.0
"""The longest time for one rendering of a template, which takes milliseconds."""
_LOOK = 16
"""Tokens at the end of a prompt that are searched for an opened thought."""
_OPENED = re.compile(r"(?:<(?:think|thinking|thought|seed:think)>|\[THINK\]|◁think▷|<\|START_THINKING\|>)\s*\Z")
_BEGINS = re.compile(r"\s*(?:<(?:think|thinking|thought|seed:think)>|\[THINK\]|◁think▷)\s*")
_TAGS = {"[THINK]": "<think>", "[/THINK]": "</think>", "<|START_THINKING|>": "<think>", "<|END_THINKING|>": "</think>"}
"""Control tokens that open and close a thought, with the tags that parsers of replies accept."""
_CHANNEL = re.compile(r"<\|channel\|>(\w+).*?<\|message\|>(.*?)(<\|(?:end|return|call|start)\|>|\Z)", re.DOTALL)
"""A part of a reply in gpt-oss's format: the channel `final` is the answer, others are thoughts."""
_SYSTEM: WeakKeyDictionary[PreTrainedTokenizerBase, bool] = WeakKeyDictionary()
"""Whether a tokenizer's template shows a system turn."""
_CONTROL: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[int, dict[str, AddedToken]]] = WeakKeyDictionary()
"""The number of tokens when cached, and the control tokens."""


def adapt(tokenizer: PreTrainedTokenizerBase, name: str, arguments: Mapping[str, Any] | None = None) -> None:
    """Adapt a newly loaded tokenizer to its chat template.

    `arguments` (such as `enable_thinking`) are set in the template, and are saved with the tokenizer. The tokenizer's end token
    becomes the one that ends a turn in the template. Raises `InputError` for arguments that the template does not read, for an
    unusable template, and if there is no end token.
    """
    if arguments:
        _set_arguments(tokenizer, name, arguments)
    end = _turn_end(tokenizer)
    if end is not None and end != tokenizer.eos_token:
        before = "none" if tokenizer.eos_token is None else repr(tokenizer.eos_token)
        taken = f"using {end!r}, with which its chat template ends a turn"
        LOG.warning(f"{name}: the tokenizer's end token is {before}; {taken}")
        tokenizer.eos_token = end
    if tokenizer.eos_token_id is None:
        raise InputError(
            "neither the tokenizer nor its chat template defines an end-of-turn token", field="model", found=name,
            expected="a tokenizer with an eos_token",
        )  # fmt: skip


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], prefix: str = "") -> list[int]:
    """The ids of `messages`, the opening of the assistant's turn, and `prefix`, the start of its reply.

    With a `prefix` they are those of the template with `continue_final_message`; its trailing blanks are kept. If the template
    has no system turn, the system text is put before the user's.
    """
    messages = _without_system(tokenizer, messages)
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

    The reply's ids directly follow the prompt's, as in generation, so text that the template writes before a reply is part of the
    reply. If the template opens the thought, the reply continues it: its own `<think>` is not repeated, and if it has no thought,
    the empty one is closed.
    """
    *before, reply = messages
    if reply.role != "assistant":
        raise InputError("the last message is not from the assistant", field="messages", found=reply.role, expected="assistant")
    prompt = prompt_ids(tokenizer, before)
    header, text = _header(tokenizer, before), reply.content
    if thought_opened(tokenizer, prompt):
        begins = _BEGINS.match(text)
        text = text[begins.end() :] if begins else text
        if "</think>" not in text:
            text = f"\n</think>\n\n{text}"
        header = ""
    elif _BEGINS.match(text):
        header = ""
    answer = [*_encode(tokenizer, header), *text_ids(tokenizer, text), tokenizer.eos_token_id]
    return prompt + answer, [0] * len(prompt) + [1] * len(answer)


def thought_opened(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int]) -> bool:
    """Whether a prompt ends in an open thought that the reply continues, as in the templates of some reasoning models."""
    text = tokenizer.decode(list(prompt[-_LOOK:]), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return bool(_OPENED.search(str(text)))


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of plain text; the text of a control token stays text."""
    return _encode(tokenizer, text, split_special_tokens=True) if text else []


def reply_text(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], reply: Sequence[int]) -> str:
    """The text of `reply` as a continuation of `prompt`, both token ids; control tokens are removed.

    Thoughts are put between `<think>` and `</think>`, whichever tags the model uses, and also if the template opened the thought.
    The last prompt tokens are decoded too, as some tokenizers drop a blank at the start of a text.
    """
    tail, control = list(prompt[-_TAIL:]), _control(tokenizer)
    ids = list(reply)
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    before = _decode(tokenizer, tail)
    if "<|channel|>" in control:
        text = _channels(_decode(tokenizer, ids, special=True), _decode(tokenizer, ids))
    elif tags := {tokenizer.convert_tokens_to_ids(token): tag for token, tag in _TAGS.items() if token in control}:
        text = _decode_tags(tokenizer, tail, ids, tags)
    else:
        text = _decode(tokenizer, [*tail, *ids])[len(before) :]
    return opened_text(text) if thought_opened(tokenizer, prompt) else text


def opened_text(text: str) -> str:
    """A reply that continues a thought opened by the template, with the opening tag added.

    >>> opened_text("2 + 2 = 4.</think>Right."), opened_text("<think>2 + 2")
    ('<think>2 + 2 = 4.</think>Right.', '<think>2 + 2')
    """
    return text if _BEGINS.match(text) else f"<think>{text}"


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], special: bool = False) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False))


def _decode_tags(tokenizer: PreTrainedTokenizerBase, tail: list[int], ids: list[int], tags: Mapping[int, str]) -> str:
    text, known = "", tail
    pieces: list[int] = []
    for token in [*ids, None]:
        if token is not None and token not in tags:
            pieces.append(token)
            continue
        text += _decode(tokenizer, [*known, *pieces])[len(_decode(tokenizer, known)) :] + tags.get(token or -1, "")
        known, pieces = [], []
    return text


def _channels(whole: str, plain: str) -> str:
    """A reply in gpt-oss's channels; `plain`, the reply without control tokens, if it has none."""
    text, found = "", False
    for match in _CHANNEL.finditer(whole):
        channel, said, end = match.groups()
        found = True
        text += said if channel == "final" else f"<think>{said}</think>" if end else f"<think>{said}"
    return text if found else plain


def _set_arguments(tokenizer: PreTrainedTokenizerBase, name: str, arguments: Mapping[str, Any]) -> None:
    """Set variables at the head of the template."""
    template = tokenizer.chat_template
    if not isinstance(template, str):
        raise InputError("the tokenizer has several chat templates", field="template_args", found=name, expected="one")
    for key in arguments:
        if not re.search(rf"\b{re.escape(key)}\b", template):
            raise InputError(
                "the chat template does not use this variable", field=f"template_args.{key}", found=arguments[key],
                expected=f"a variable of the template of {name}",
            )  # fmt: skip
    tokenizer.chat_template = "".join(f"{{%- set {key} = {_literal(value)} -%}}" for key, value in arguments.items()) + template


def arguments_id(arguments: Mapping[str, Any] | None) -> str:
    """The suffix that `adapt`'s arguments add to a model's name, as they change the prompt."""
    return f"+{json.dumps(dict(arguments), sort_keys=True)}" if arguments else ""


def _literal(value: Any) -> str:
    """A value as a Jinja literal."""
    return "none" if value is None else json.dumps(value)


def _turn_end(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The control token that ends the assistant's turn in the template; None if other text ends it."""
    rows = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _MARK.format("reply")}]
    _, found, after = _applied(tokenizer, rows, False).rpartition(_MARK.format("reply"))
    if not found:
        raise InputError("the chat template does not render a reply", field="chat_template", expected="a plain template")
    tokens = sorted(_control(tokenizer), key=len, reverse=True)
    return next((token for token in tokens if after.lstrip().startswith(token)), None)


def _header(tokenizer: PreTrainedTokenizerBase, before: Sequence[Message]) -> str:
    """The template's text between the opening of the assistant's turn and its content: a channel, an empty thought."""
    messages = _without_system(tokenizer, before)
    marks = [_MARK.format(index) for index in range(len(messages))]
    opening, whole = (_render(tokenizer, messages, marks, continued) for continued in (False, True))
    return whole[len(opening) :] if whole.startswith(opening) else ""


def _without_system(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Sequence[Message]:
    """`messages`, with the system turn merged into the user's if the template has none."""
    if len(messages) < 2 or messages[0].role != "system" or _takes_system(tokenizer):
        return messages
    system, first, *others = messages
    return [Message(role=first.role, content=f"{system.content}\n\n{first.content}"), *others]


def _takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    if tokenizer not in _SYSTEM:
        rows = [{"role": "system", "content": _MARK.format("system")}, {"role": "user", "content": "x"}]
        try:
            shown = _MARK.format("system") in _applied(tokenizer, rows, True)
        except InputError:
            shown = False
        if not shown:
            name = tokenizer.name_or_path or "the model"
            LOG.warning(f"{name}: the chat template has no system turn; the system prompt is prepended to the user turn")
        _SYSTEM[tokenizer] = shown
    return _SYSTEM[tokenizer]


def _applied(tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, str]], opens: bool) -> str:
    """The template's text. Raises `InputError` with the template's own message if it rejects the turns, or if it does not end."""
    from jinja2 import TemplateError

    try:
        with deadline(_SECONDS):
            return str(tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=opens))
    except DeadlineError:
        raise InputError(
            "the chat template does not end", field="chat_template", found=f"no text after {_SECONDS:g} s",
            expected="a template without long loops",
        ) from None  # fmt: skip
    except RecursionError:
        raise InputError(
            "the chat template does not end", field="chat_template", found="a recursion", expected="a template without recursion"
        ) from None
    except (
        TemplateError,
        ArithmeticError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
    ) as error:  # whatever its code raises
        roles = ", ".join(row["role"] for row in rows)
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"the chat template rejects the turns ({type(error).__name__}: {reason})", field="messages", found=roles,
            expected="turns that it accepts",
        ) from None  # fmt: skip


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, split_special_tokens: bool = False) -> list[int]:
    """Encode with the backend: the tokenizer's own call takes twice as long, for unused masks and offsets. It is used only if the
    backend still has the settings of another call, which it resets."""
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
    """The template's text up to the start of the reply, with `contents` in the turns of `messages`."""
    rows = [{"role": message.role, "content": content} for message, content in zip(messages, contents, strict=True)]
    if not continued:
        return _applied(tokenizer, rows, True)
    rows.append({"role": "assistant", "content": _MARK.format("reply")})
    text, found, _ = _applied(tokenizer, rows, False).rpartition(_MARK.format("reply"))
    if not found:
        raise InputError("the chat template does not render a reply", field="chat_template", expected="a plain template")
    return text


def _pieces(rendered: str, count: int) -> list[str]:
    """The template's own text before each of `count` marks, and after the last one."""
    pieces = []
    for index in range(count):
        piece, found, rendered = rendered.partition(_MARK.format(index))
        if not found:
            raise InputError(
                "the chat template does not render every message", field="chat_template", expected="a plain template"
            )
        pieces.append(piece)
    return [*pieces, rendered]


def _cut(
    pieces: Sequence[str], contents: Sequence[str], foreign: Sequence[bool], control: Mapping[str, AddedToken]
) -> Iterator[tuple[str, str]]:
    """`(text, control token after it)` for each control token of the template. A `foreign` content is also cut, with an empty
    token, inside each added token that is not special (`<think>`)."""
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

"""Why a reply ended: one vocabulary for all servers and recordings.

>>> [finish_reason(said) for said in ("stop", "eos_token", "end_turn", "max_tokens", None, "SAFETY", "abort", "odd")]
['stop', 'stop', 'stop', 'length', 'unknown', 'withheld', 'broken', 'unknown']

Sources of the words: OpenAI, vLLM and SGLang (`stop`, `length`, `tool_calls`, `content_filter`, `abort`), TGI (`eos_token`,
`stop_sequence`), Anthropic (`end_turn`, `max_tokens`, `refusal`), Gemini (`STOP`, `MAX_TOKENS`, `SAFETY`, `RECITATION`), Mistral
(`model_length`), DeepSeek (`insufficient_system_resource`), Cohere (`COMPLETE`), Zhipu (`sensitive`), Ollama (`load`, `unload`).
"""

from __future__ import annotations

from typing import Final

STOP: Final = "stop"
LENGTH: Final = "length"
UNKNOWN: Final = "unknown"
"""The server gives no reason. The reply counts as complete."""
WITHHELD: Final = "withheld"
"""A filter or the model declined to answer: the text, if any, is not a reply."""
BROKEN: Final = "broken"
"""The server stopped in the middle of the reply."""

_MEANINGS: Final = {
    STOP: "stop eos eos_token stop_sequence stop_token end end_turn complete completed finish finished tool_calls tool_call "
    "tool_use function_call",
    LENGTH: "length max_tokens max_output_tokens max_length max_new_tokens model_length model_context_window_exceeded",
    WITHHELD: "content_filter content_filtered refusal safety recitation blocklist prohibited_content spii sensitive "
    "guardrail_intervened error_toxic",
    BROKEN: "abort aborted cancelled canceled error network_error timeout insufficient_system_resource load unload pause_turn",
}
_MEANING: Final = {word: meaning for meaning, words in _MEANINGS.items() for word in words.split()}


def finish_reason(said: object) -> str:
    """`stop`, `length`, `unknown`, `withheld` or `broken`. Any other word, null or another type gives `unknown`."""
    return _MEANING.get(said.strip().lower().replace("-", "_"), UNKNOWN) if isinstance(said, str) else UNKNOWN

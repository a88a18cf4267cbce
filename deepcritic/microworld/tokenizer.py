"""The small world's tokenizer: byte-level BPE in which each digit and each word of the world is one token.

Any text survives encoding and decoding (bytes are the fallback), so the small models can run on real problems.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def train_tokenizer(corpus: Iterable[str], vocabulary: int = 512, context: int = 4096) -> PreTrainedTokenizerBase:
    """Train a tokenizer of at most `vocabulary` entries on `corpus`, with the small world's chat template.

    Its class is Qwen2's (transformers always loads that class for the architecture): text is split into words, single digits and
    runs of signs before merging, so "7+5=2" is five tokens.
    """
    from tokenizers import pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=context)
    inner = tokenizer.backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=20,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(corpus, trainer)
    vocab = json.loads(inner.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=vocab["vocab"],
        merges=[tuple(merge) for merge in vocab["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )

"""Hard2Verify: proofs by frontier models for recent competition problems, each step labelled by people (arXiv 2510.13744).

The set is encoded to keep it out of training data: four fields of a row are base64 of their JSON text, XORed with the repeated
sha256 of the row's `canary`. They are decoded in memory; do not publish decoded rows. Rows that are already decoded are read too.
The licence forbids commercial use.

A step that builds on an earlier wrong one is labelled wrong (`human_labels`: 1 right, 0 wrong), and
`human_labels_first_error_idx` counts from 0. The authors' ErrorID score is F1 as on ProcessBench.

    for row in hard2verify.read("hard2verify.jsonl"): ...
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
from typing import Any, Final

from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take, take_label, take_steps, unnumbered
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item

LICENSE: Final = "CC-BY-NC-4.0"
ENCODED: Final = ("question", "model_response_by_step", "human_labels", "human_labels_first_error_idx")


def decoded(text: str, canary: str) -> Any:
    """The value of an encoded field; any other text raises `ValueError`.

    >>> decoded("FwAAc4E+Wfd2", "c")
    Traceback (most recent call last):
    ValueError: not encoded with this canary
    """
    try:
        packed = base64.b64decode(text, validate=True)
        key = itertools.cycle(hashlib.sha256(canary.encode()).digest())
        return json.loads(bytes(one ^ other for one, other in zip(packed, key, strict=False)).decode())
    except (binascii.Error, ValueError):
        raise ValueError("not encoded with this canary") from None


def _example(record: Record, *, license: str = LICENSE) -> Example:
    """The rows of the set's file, or of `Salesforce/Hard2Verify` on the hub."""
    plain = _plain(record)
    steps = take_steps(plain, "model_response_by_step")
    first = take_label(plain, "human_labels_first_error_idx", len(steps))
    return Example(
        id=f"hard2verify-{take(record, 'unique_id', str)}",
        item=Item(problem=take(plain, "question", str), steps=unnumbered(steps)),
        gold=Gold(first_error=first, step_ratings=_ratings(plain, len(steps), first)),
        source="hard2verify",
        license=license,
    )


def _plain(record: Record) -> dict[str, Any]:
    """The record with its encoded fields decoded. If the steps are a list, the record is already decoded."""
    if not isinstance(record.get("model_response_by_step"), str):
        return dict(record)
    canary, plain = take(record, "canary", str), dict(record)
    for name in ENCODED:
        value = record.get(name)
        if isinstance(value, str):
            try:
                plain[name] = decoded(value, canary)
            except ValueError:
                expected = "base64 of the JSON text, XORed with the sha256 of the row's canary"
                raise InputError("the field cannot be decoded", field=name, found=value[:40], expected=expected) from None
    return plain


def _ratings(plain: dict[str, Any], steps: int, first: int) -> tuple[int, ...]:
    """1 for each right step and -1 for each wrong one. The first wrong step must match the label."""
    labels = take(plain, "human_labels", list)
    if len(labels) != steps or any(label not in (0, 1) for label in labels):
        raise InputError(
            "the number of labels differs from the number of steps",
            field="human_labels",
            found=labels,
            expected=f"{steps} times 0 or 1",
        )
    says = labels.index(0) + 1 if 0 in labels else ALL_CORRECT
    if says != first:
        expected = f"{says - 1 if says > 0 else -1}, as in human_labels"
        found = plain["human_labels_first_error_idx"]
        raise InputError("the labels contradict each other", field="human_labels_first_error_idx", found=found, expected=expected)
    return tuple(1 if label else -1 for label in labels)


read = reader(_example)

"""Renamed fields, so that files of the previous release can still be read.

An entry is kept for one release.
"""

from __future__ import annotations

from typing import Any, Final

RENAMED: Final = {
    "unreadable": "unparsed",
    "eval_unreadable": "eval_unparsed",
    "unreadable_answers": "unparsed_answers",
    "liking": "meta_rm_scores",
    "blind": "constant_baseline",
    "blind_f1": "constant_baseline_f1",
    "blind_accuracy": "chance_accuracy",
    "flips": "attack_success_rates",
}
"""Old field name -> new name, in any file of a run."""


def with_current_names(value: Any) -> Any:
    """JSON values with the current field names.

    >>> with_current_names({"blind_f1": 20.0, "replies": [{"unreadable": 2}]})
    {'constant_baseline_f1': 20.0, 'replies': [{'unparsed': 2}]}
    """
    if isinstance(value, dict):
        return {RENAMED.get(name, name): with_current_names(item) for name, item in value.items()}
    return [with_current_names(item) for item in value] if isinstance(value, list) else value

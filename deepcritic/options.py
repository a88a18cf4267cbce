"""The options of a stage: a frozen dataclass, with a default, a type and one line of help per option.

    @dataclass(frozen=True, kw_only=True)
    class LabelOptions(Options):
        \"""Turn rollouts into step labels by a rule, without a model.\"""

        solutions: str = option(REQUIRED, "solutions to label: solutions.jsonl of stage=solve", group="Data")
        rule: str = option("deepcritic", "how rollouts become a label", group="Labels", choices=("deepcritic", "soft"))

The YAML in `conf/stage/`, `stage=X --help` and the page of options are generated from these records.
"""

from __future__ import annotations

import dataclasses
import decimal
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any, ClassVar, Final

from deepcritic.errors import InputError, UsageError

REQUIRED: Final = MISSING
"""The default of a required option."""
_WORDS: Final = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def option(
    default: Any,
    text: str,
    *,
    group: str = "",
    top: bool | str = False,
    was: str | None = None,
    not_hashed: bool = False,
    extends: bool = False,
    choices: Sequence[str] = (),
    at_least: float | None = None,
    at_most: float | None = None,
    needs: str | None = None,
) -> Any:
    """A field of a stage's options.

    Args:
        default: the value if none is given, or `REQUIRED`.
        text: one line for the help, the YAML and the docs page.
        group: the heading of this field and of those after it.
        top: set for all stages at once, as `NAME=` instead of `stage.NAME=`. A text is the name if it differs.
        was: the old name, accepted for one release.
        not_hashed: affects no row, so it may change when a stage is restarted.
        extends: existing samples stay valid when it changes (a number: when it grows), so a stage can resume.
        choices: the allowed values.
        at_least: the smallest allowed number.
        at_most: the largest allowed number.
        needs: the option without which it has no effect, as `name` (is given) or `name=value,value` (is one of these).
    """
    metadata = {
        "text": text, "group": group, "top": top, "was": was, "not_hashed": not_hashed, "extends": extends,
        "choices": tuple(choices), "at_least": at_least, "at_most": at_most, "needs": needs,
    }  # fmt: skip
    return field(default_factory=list, metadata=metadata) if default == [] else field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base class of stage options. Raises `UsageError` for a value that is not a choice, `InputError` for one out of range."""

    REPLACES: ClassVar[Mapping[str, str]] = {}
    """Options that have no effect if another one, or a group, is given: `{"generations": "model sampler"}`."""
    NEEDS: ClassVar[Mapping[str, str]] = {}
    """Engines that have no effect without an option, in the syntax of `needs` of `option`: `{"sampler": "split=model"}`, with `|`
    between alternatives."""

    COUNTS_COST: ClassVar[bool] = True
    """Whether requests to its sampler count towards `max_cost`."""

    def __post_init__(self) -> None:
        for one in described(type(self)):
            value = getattr(self, one.name)
            if value is None:
                continue
            if one.choices and value not in one.choices:
                raise wrong(one.key, value, ", ".join(one.choices))
            low, high = one.at_least, one.at_most
            if (low is not None and value < low) or (high is not None and value > high):
                limits = [f"{word} {limit:g}" for word, limit in (("from", low), ("up to", high)) if limit is not None]
                kind = "a whole number" if "int" in one.type else "a number"
                raise InputError("out of range", field=one.key, found=value, expected=f"{kind} {' '.join(limits)}")


@dataclass(frozen=True)
class Option:
    """The description of one option."""

    name: str
    type: str
    default: Any
    text: str
    group: str
    top: str | None
    was: str | None
    not_hashed: bool
    extends: bool
    choices: tuple[str, ...]
    at_least: float | None
    at_most: float | None
    needs: str | None

    @property
    def key(self) -> str:
        """The name on the command line."""
        return self.top or f"stage.{self.name}"

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


def described(record: type[Options]) -> list[Option]:
    """The options of a record, each with its heading, in the order of declaration."""
    found, group = [], ""
    for one in dataclasses.fields(record):
        about = dict(one.metadata)
        group = about.pop("group") or group
        top = about.pop("top")
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        found.append(
            Option(
                name=one.name,
                type=str(one.type),
                default=default,
                group=group,
                top=one.name if top is True else top or None,
                **about,
            )
        )
    return found


def record_of(run: Callable[..., Any]) -> type[Options]:
    """The options class that a stage's `run(folder, options, *, ...)` takes."""
    annotation = inspect.signature(run).parameters["options"].annotation
    record: type[Options] = getattr(sys.modules[run.__module__], str(annotation))
    return record


def engines_of(run: Callable[..., Any]) -> list[str]:
    """The other parameters of a stage's `run`: the config groups built for it (`task`, `sampler`...)."""
    return [name for name, parameter in inspect.signature(run).parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]


def split(run: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[Options, dict[str, Any]]:
    """The options of a stage and its engines, from one mapping of both.

    >>> from deepcritic.stages import export
    >>> split(export.run, {"evaluation": "evaluate.rl"})
    (ExportOptions(evaluation='evaluate.rl'), {})
    """
    engines = {name: arguments[name] for name in engines_of(run) if name in arguments}
    return record_of(run)(**{name: value for name, value in arguments.items() if name not in engines}), engines


def wrong(key: str, found: object, expected: str, problem: str = "invalid choice") -> UsageError:
    """The error for an option with an invalid value."""
    return UsageError(f"{key}: {problem}; found {found!r}; expected {expected}")


def value_text(value: Any) -> str:
    """A value as written in YAML and on the command line.

    >>> [value_text(value) for value in (None, True, 0.00001, 3.0, "drop", "on", "a b", [])]
    ['null', 'true', '0.00001', '3.0', 'drop', '"on"', '"a b"', '[]']
    """
    if isinstance(value, float):
        return format(decimal.Decimal(repr(value)), "f")
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*", value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)

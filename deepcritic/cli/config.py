"""From the command line to objects: Hydra composes the configuration, `build` calls each `_target_`."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepcritic.cli.old_names import for_hydra, parts, stage_of, translated
from deepcritic.errors import UsageError
from deepcritic.options import engines_of, record_of, split

_PLAIN = (str, int, float, bool)
_NAMED: dict[Any, str] = {
    str: "text (quote numbers: \"'7'\")",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def configuration_folder() -> Path:
    """The folder `conf/`: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def compose(overrides: list[str]) -> Any:
    """Compose the configuration from `overrides`. Raises `UsageError` that suggests the nearest name."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException, OverrideParseException

    for word in overrides:
        if word.startswith("-"):
            raise UsageError(f"options have no dashes; expected {word.lstrip('-')}")
        if "=" not in word and not word.startswith("~"):
            raise UsageError(f"found {word!r}; expected option=value (see python -m deepcritic --help)")
    overrides = translated(overrides, configuration_folder())
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(configuration_folder().resolve())):
            return hydra_compose("config", overrides=for_hydra(overrides))
    except OverrideParseException as error:
        written = error.override
        raise UsageError(f'{written!r} cannot be parsed; quote the value: "{_quoted(written)}"') from None
    except HydraException as error:
        message = str(error)
    raise UsageError(_nearest(message, overrides))


def shrink(options: dict[str, Any], most: dict[str, float]) -> None:
    """Cap a stage's options at `most`, in place. Names may be dotted; null and negative numbers mean no limit.

    >>> options = {"steps": 100, "limit": None, "source": {"count": 5}}
    >>> shrink(options, {"steps": 2, "limit": 24, "source.count": 24, "epochs": 1})
    >>> options
    {'steps': 2, 'limit': 24, 'source': {'count': 5}}
    """
    for name, limit in most.items():
        *place, key = name.split(".")
        part: Any = options
        for word in place:
            part = part.get(word) if isinstance(part, dict) else None
        if isinstance(part, dict) and key in part:
            value = part[key]
            part[key] = limit if value is None or value < 0 else min(value, limit)


def build(value: Any, *, as_partial: bool = False, place: str = "stage") -> Any:
    """Build the object of a configuration: call `_target_` with the other keys, or bind it to them (`_partial_`).

    A stage's `run` is bound to its options record and its engines. Only this package's functions can be named, and their
    exceptions propagate. An unknown key, or a value of the wrong type, is a `UsageError` that names the option (`place` and
    the key).
    """
    if isinstance(value, list):
        return [build(item, place=place) for item in value]
    if not isinstance(value, dict):
        return value
    arguments = {
        key: build(item, place=key if place == "stage" else f"{place}.{key}")
        for key, item in value.items()
        if key not in {"_target_", "_partial_", "_not_hashed_", "_extends_"}
    }
    if "_target_" not in value:
        return arguments
    function = target(value)
    _check_arguments(function, arguments, place)
    if "options" in inspect.signature(function).parameters:
        options, engines = split(function, arguments)
        return functools.partial(function, options=options, **engines)
    return functools.partial(function, **arguments) if as_partial or value.get("_partial_") else function(**arguments)


def target(value: Mapping[str, Any]) -> Any:
    """The function or class that `_target_` names. Raises `UsageError` unless a module of this package defines it: imported
    and private names cannot be called from a configuration."""
    module, name = target_name(value)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("deepcritic"):  # a package from an extra
            raise
        found = None
    if name.startswith("_") or not callable(found) or getattr(found, "__module__", None) != module:
        raise _no_target(value["_target_"])
    return found


def target_name(value: Mapping[str, Any]) -> tuple[str, str]:
    """The module and name in `_target_`. Raises `UsageError` if it is not in this package."""
    written = value["_target_"]
    parts = written.split(".") if isinstance(written, str) else []
    if len(parts) < 3 or parts[0] != "deepcritic" or not all(part.isidentifier() for part in parts):
        raise _no_target(written)
    return ".".join(parts[:-1]), parts[-1]


def _no_target(written: object) -> UsageError:
    return UsageError(
        f"_target_: not from this package; found {written!r}; expected a function or class defined in a module of deepcritic"
    )


def _check_arguments(function: Any, arguments: dict[str, Any], place: str) -> None:
    parameters = inspect.signature(function).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = [name for name in parameters if name != "folder"]
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except NameError:  # a type imported only for type checking
        hints = {}
    if "options" in parameters:
        hints = typing.get_type_hints(record_of(function))
        known = [*hints, *engines_of(function)]
    for name, value in arguments.items():
        if name not in known and not open_ended:
            raise UsageError(f"unknown option {place}.{name}{offer(name, known)}")
        hint = hints.get(name, Any)
        kinds = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
        if Any in kinds or isinstance(value, dict | list) or (value is not None and not isinstance(value, _PLAIN)):
            continue
        if not kinds & ({type(value), float} if type(value) is int else {type(value)}) and (
            value is None or kinds <= _NAMED.keys()
        ):
            right = " or ".join(sorted(_NAMED.get(kind, "something") for kind in kinds))
            raise UsageError(f"{place}.{name}: wrong type; found {value!r}; expected {right}")


def offer(wrong: str, options: list[str]) -> str:
    """The end of an error: the nearest of `options`, or all."""
    close = difflib.get_close_matches(wrong, options, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; expected {', '.join(options)}" if options else ""


def _quoted(written: str) -> str:
    name, _, value = written.partition("=")
    return f"{name}='{value}'"


def _nearest(message: str, overrides: list[str]) -> str:
    group = re.search(r"[Cc]ould not find '([^']+)/([^'/]*)'", message)
    if group:
        folder, wrong = group.groups()
        options = sorted(file.stem for file in (configuration_folder() / folder).glob("*.yaml") if not file.stem.startswith("_"))
        given = (name for _, name, _, value in map(parts, overrides) if value == wrong)
        return f"unknown {next(given, folder)}={wrong}{offer(wrong, options)}"
    old = re.search(r"Could not override '(benchmark|source)'", message)
    if old:
        return f"found override /{old.group(1)}: NAME in an experiment; expected override /dataset@{old.group(1)}: NAME"
    key = re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", message)
    if key:
        wrong = (key.group(1) or key.group(2)).removeprefix("++").removeprefix("+")
        if wrong.startswith("stage.") and stage_of(overrides, configuration_folder()) is None:
            return f"{wrong} needs stage=STAGE, or an experiment of one stage"
        known = _known_keys([word for word in overrides if not word.lstrip("+").startswith(wrong)])
        return f"unknown option {wrong}{offer(wrong, known)}"
    return message


def _known_keys(overrides: list[str]) -> list[str]:
    from omegaconf import OmegaConf

    from deepcritic.runs.changes import flatten

    try:
        config = compose(overrides)
    except UsageError:
        return []
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    return sorted(flatten(plain))

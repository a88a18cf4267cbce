"""Raises an error for given options that nothing reads, and names the stages that do read them.

What a stage reads is derived from its composed configuration: the interpolations in its file (`model: ${model}`), followed
recursively. An option without effect beside another one (`stage.temperature` with `stage.generations`) counts as not read;
the stage's options record declares these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from deepcritic.cli.old_names import parts, run_of, stage_names
from deepcritic.errors import UsageError
from deepcritic.options import described, engines_of, record_of

COMMON = ("runs", "run", "name", "overwrite", "dry_run", "probe", "most", "stage", "experiment", "debug")
"""Read by the command line itself, for every stage."""
SPENDING = ("price", "max_cost")
"""Read by stages with a sampler."""
PIPELINE = ("runs", "run", "seed", "overwrite", "price", "max_cost", "experiment", "debug", "pipeline")
"""Passed on to the stages of an experiment, or read by the command line itself."""
_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")


def check_given(config: Any, words: Iterable[str], conf: Path) -> None:
    """Raises `UsageError` for an option in `words`, or in their experiment's file, that nothing reads."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    given = {parts(word)[1].rpartition("@")[2]: "" for word in words}
    if plain["pipeline"] is not None:
        _check_pipeline(plain, given)
        return
    if plain["stage"] is None or stage_name(plain) not in stage_names():
        return
    try:
        values: dict[str, Any] = OmegaConf.to_container(config.stage, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException:  # reported when the stage starts
        return
    stage = stage_name(plain)
    silent = without_effect(stage, values)
    read, read_by_stage = names_read(plain, silent), names_read(plain)
    for name, place in _of_experiment(words, conf).items():  # the command may disable these
        if name not in given and not is_read(name, read_by_stage):
            raise UsageError(place + _unread(name, stage, plain, {}, given))
        _check_use(name)
    for name in given:
        if name.startswith("stage."):
            key = name.split(".")[1]
            if key in silent:
                raise UsageError(f"{name} has no effect: {silent[key]}")
        elif not is_read(name, read):
            raise UsageError(_unread(name, stage, plain, silent, given))
        _check_use(name)


def stage_name(plain: Mapping[str, Any]) -> str:
    """The stage of a configuration."""
    return ".".join(str(plain["stage"]["_target_"]).split(".")[-2:-1])  # empty if not a dotted name: `build` refuses that


def names_read(plain: Mapping[str, Any], silent: Iterable[str] = ()) -> set[str]:
    """The top-level options that a configuration's stage reads, dotted if only a part is read.

    >>> sorted(names_read({"stage": {"_target_": "deepcritic.stages.label.run", "task": "${task}"}, "task": {"system": "${x}"}}))
    ['debug', 'dry_run', 'experiment', 'most', 'name', 'overwrite', 'probe', 'run', 'runs', 'stage', 'task', 'x']
    """
    effective = {key: value for key, value in plain["stage"].items() if key not in set(silent)}
    found = set(COMMON)
    waiting: list[Any] = [effective]
    while waiting:
        for name in _references(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(_lookup(plain, name))
    counts = record_of(run_of(stage_name(plain))).COUNTS_COST
    return found | set(SPENDING if "sampler" in effective and counts else ())


def is_read(name: str, read: Iterable[str]) -> bool:
    """Whether an option, or a part of it, is in `read`.

    >>> [is_read(name, {"task", "suite.a"}) for name in ("task", "task.system", "suite", "suite.b", "tas")]
    [True, True, True, False, False]
    """
    return any(name == one or name.startswith(f"{one}.") or one.startswith(f"{name}.") for one in read)


def without_effect(stage: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a stage without effect given its other values, with reasons."""
    run = run_of(stage)
    record = record_of(run)
    keys = {one.name: one.key for one in described(record)}
    found: dict[str, str] = {}
    for cause, replaced in record.REPLACES.items():
        if _is_set(values.get(cause)):
            found |= {name: f"{keys.get(cause, cause)}= is set" for name in replaced.split()}
    needs = {one.name: one.needs for one in described(record) if one.needs} | dict(record.NEEDS)
    for name, condition in needs.items():
        if not any(_met(values, one) for one in condition.split("|")):
            needed = (one.partition("=") for one in condition.split("|"))
            wanted = (f"{keys[option]}={value.replace(',', ' or ')}" for option, _, value in needed)
            found.setdefault(name, f"it needs {' or '.join(wanted)}")
    return found


def _met(values: Mapping[str, Any], condition: str) -> bool:
    """Whether an option is set, or has one of the values, as in "split=model"."""
    needed, _, wanted = condition.partition("=")
    value = values.get(needed)
    return str(value) in wanted.split(",") if wanted else _is_set(value)


def readers(name: str) -> list[str]:
    """The stages that read a top-level option."""
    first = name.split(".")[0]
    return [
        stage
        for stage in stage_names()
        if first in {one.top for one in described(record_of(run_of(stage)))} or first in engines_of(run_of(stage))
    ]


def _unread(name: str, stage: str, plain: Mapping[str, Any], silent: Mapping[str, str], given: Mapping[str, str]) -> str:
    first = name.split(".")[0]
    options = described(record_of(run_of(stage)))
    for one in options:
        if one.top == first and one.name in silent:
            return f"{name} has no effect: {silent[one.name]}"
        if one.top == first and f"stage.{one.name}" in given:
            return f"{name} has no effect: stage.{one.name}= is also set"
    if first in silent:
        return f"{name} has no effect: {silent[first]}"
    own = [key for key in ("model", "teacher", "generator") if key in {one.top for one in options} - silent.keys()]
    hint = (
        f"; its model is {' and '.join(f'{key}=' for key in own)}" if first in {"model", "teacher", "generator"} and own else ""
    )
    if first in SPENDING:
        return f"stage={stage} does not read {first}, as it sends no requests"
    where = ", ".join(f"stage={one}" for one in readers(name))
    return (
        f"stage={stage} does not read {first}{hint}; {first} belongs to {where}"
        if where
        else (f"stage={stage} does not read {first}{hint}")
    )


def _check_pipeline(plain: Mapping[str, Any], given: Mapping[str, str]) -> None:
    read = {*PIPELINE, *_references(plain["pipeline"])}
    for name in given:
        if not is_read(name, read):
            raise UsageError(
                f"experiments of several stages do not read {name}; expected {', '.join(sorted(read - {'pipeline'}))} "
                "(for other options, run the stages one by one)"
            )


def _check_use(name: str) -> None:
    """Check options that only one of a data set's two uses (benchmark, source) reads."""
    use, _, key = name.partition(".")
    if use in {"source", "benchmark"}:
        from deepcritic.datasets.benchmark import OF_FIGURES, OF_PREPARING

        if key.split(".")[0] in (OF_FIGURES if use == "source" else OF_PREPARING):
            other = "benchmark" if use == "source" else "source"
            raise UsageError(f"{name} has no effect: it applies only to {other}=")


def _of_experiment(words: Iterable[str], conf: Path) -> dict[str, str]:
    """The top-level options that an experiment file sets."""
    names = [value for _, name, _, value in map(parts, words) if name == "experiment"]
    file = conf / "experiment" / f"{names[-1] if names else ''}.yaml"
    if not names or not file.is_file():
        return {}
    content = yaml.safe_load(file.read_text("utf-8")) or {}
    overridden = [key for entry in content.pop("defaults", []) if isinstance(entry, dict) for key in entry]
    groups = [key.removeprefix("override ").removeprefix("/").rpartition("@")[2] for key in overridden]
    return dict.fromkeys([*content, *groups], f"{file.parent.parent.name}/experiment/{file.name}: ")


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield from _REFERENCE.findall(node)
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _lookup(plain: Any, name: str) -> Any:
    for key in name.split("."):
        plain = plain.get(key) if isinstance(plain, Mapping) else None
    return plain


def _is_set(value: Any) -> bool:
    return value is not None and value is not False and value not in (0, "", [])

"""The `--help` texts: general, of a stage, of an experiment. Reads YAML and option records, without loading Hydra or torch."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deepcritic.cli.config import configuration_folder, offer
from deepcritic.cli.old_names import GROUP_OF, experiment_stage, parts, run_of, stage_names
from deepcritic.cli.unused_options import COMMON, SPENDING
from deepcritic.errors import UsageError
from deepcritic.options import Option, described, engines_of, record_of, value_text

USAGE = """\
deepcritic: train, evaluate and use critics for step-by-step mathematical reasoning

usage: python -m deepcritic stage=STAGE [option=value ...]
       python -m deepcritic experiment=EXPERIMENT [option=value ...]
       python -m deepcritic serve model=PATH [port=N] [option=value ...]
       python -m deepcritic stage=STAGE --help        options and defaults of a stage
       python -m deepcritic experiment=NAME --help    stages and settings of an experiment

{listings}

examples
  python -m deepcritic experiment=demo run=demo seed=7
  python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json model=PATH run=mine
  python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json stage.generations=ROWS.jsonl run=mine
  python -m deepcritic stage=critique input=@solution.txt model=PATH
  python -m deepcritic stage=sft model=PATH stage.dialogues=runs/mine/seed/dialogues.jsonl run=mine

options for all stages
{common}
  debug=smoke                  run a small version of the stage or experiment (about a minute)
  debug=true                   show tracebacks
  show_config=true             print the composed configuration and exit

--version                      print the version
--completion SHELL             print a tab completion script for bash, zsh or fish
"""
LISTED = (
    ("stage", "stages (stage=)"),
    ("experiment", "experiments: several stages, or the settings of one result (experiment=)"),
    ("task", "tasks: the prompt, the parser of replies and the metrics (task=)"),
    ("benchmark", "data sets for evaluation or training (benchmark=, source=)"),
    ("source", "data sets for training only (source=)"),
    ("sampler", "samplers: engines that write text (sampler=)"),
    ("scorer", "scorers: models that return numbers (scorer=)"),
    ("trainer", "trainers: which weights are trained (trainer=)"),
    ("critic", "critics: released critics and protocols of papers (critic=)"),
)
"""The groups that the general help lists, with their headings."""
NAMES = {"bool": "true/false", "str": "text", "int": "int", "float": "float", "Sequence[str]": "list", "Sequence[Any]": "list"}
_LINE = re.compile(r"^( *)([A-Za-z]\w*): *(.*?)(?:  # (.*))?$")


class Choice(NamedTuple):
    """A file of a group: its name and its first comment."""

    name: str
    text: str


class Setting(NamedTuple):
    """A line of a YAML file: dotted key, value as written, and comment."""

    key: str
    value: str
    text: str


def general() -> str:
    """The help without a stage."""
    listings = []
    for group, heading in LISTED:
        named = {one.name for one in choices("benchmark")} if group == "source" else set()
        lines = [f"  {one.name:<28} {one.text}" for one in choices(group) if one.name not in named]
        if lines:
            listings.append("\n".join([heading, *lines]))
    words = [*COMMON, *SPENDING, "seed"]
    common = [one for one in settings(configuration_folder() / "config.yaml") if one.key.split(".")[0] in words and one.text]
    shown = [f"  {_word(one.key, one.value):<28} {one.text}" for one in common]
    return USAGE.format(listings="\n\n".join(listings), common="\n".join(shown))


def of_command(words: list[str]) -> str:
    """The help for a command's stage or experiment. Raises `UsageError` for an unknown one."""
    given = {name: value for _, name, _, value in map(parts, words)}
    stage, experiment = given.get("stage"), given.get("experiment")
    if stage is not None and stage not in stage_names():
        raise UsageError(f"unknown stage={stage}{offer(stage, stage_names())}")
    names = [one.name for one in choices("experiment")]
    if experiment is not None and experiment not in names:
        raise UsageError(f"unknown experiment={experiment}{offer(experiment, names)}")
    if experiment is not None:
        return _experiment(experiment, given)
    return of_stage(stage, given) if stage is not None else general()


def of_stage(stage: str, given: Mapping[str, str], experiment: Mapping[str, Any] | None = None) -> str:
    """The options of a stage by heading, each with type, default and a one-line description."""
    run = run_of(stage)
    record = record_of(run)
    lines = [record.__doc__ or "", "", f"usage: python -m deepcritic stage={stage} [option=value ...]"]
    own = dict((experiment or {}).get("stage") or {})
    group = None
    for one in described(record):
        if one.group != group:
            lines += ["", one.group]
            group = one.group
        default = own.get(one.name, (experiment or {}).get(one.top, one.default) if one.top else one.default)
        lines += _row(_word(one.key, "" if one.required and default is one.default else value_text(default)), one)
    for engine in engines_of(run):
        lines += ["", *_engine(engine, given.get(engine) or _chosen(engine, experiment))]
    lines += ["", "Run"]
    for setting in settings(configuration_folder() / "config.yaml"):
        first = setting.key.split(".")[0]
        if setting.text and (first in COMMON or (first in SPENDING and record.COUNTS_COST and "sampler" in engines_of(run))):
            lines += _wrapped(_word(setting.key, setting.value), "", setting.text)
    return "\n".join(lines) + "\n"


def choices(group: str) -> list[Choice]:
    """The choices of a group: its files, each with its first comment."""
    folder = folder_of(group)
    files = [file for file in sorted(folder.rglob("*.yaml")) if not file.stem.startswith("_")]
    if group == "benchmark":
        files = [file for file in files if any(one.key == "metric" for one in settings(file))]
    return [Choice(file.relative_to(folder).with_suffix("").as_posix(), (header(file) or [""])[0]) for file in files]


def folder_of(group: str) -> Path:
    """The folder with the files of a group."""
    return configuration_folder() / GROUP_OF.get(group, group)


def header(file: Path) -> list[str]:
    """The comments at the top of a file, without `#`."""
    lines = []
    for line in file.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def settings(file: Path) -> list[Setting]:
    """The values that a file sets, with their comments; those of its `defaults` come first.

    >>> settings(configuration_folder() / "trainer" / "lora.yaml")[0].key
    'lora_rank'
    """
    text = file.read_text("utf-8")
    found: dict[str, Setting] = {}
    for entry in (yaml.safe_load(text) or {}).get("defaults", []):
        if isinstance(entry, str) and entry != "_self_" and (file.parent / f"{entry}.yaml").is_file():
            found |= {one.key: one for one in settings(file.parent / f"{entry}.yaml")}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        indent, key, value, comment = match.groups()
        above = [one for one in above if one[0] < len(indent)]
        name = ".".join([*(one for _, one in above), key])
        above.append((len(indent), key))
        if value and not name.startswith("defaults"):
            found[name] = Setting(name, value, comment or (found[name].text if name in found else ""))
    return list(found.values())


def type_text(one: Option) -> str:
    """A readable type of an option.

    >>> from deepcritic.stages.label import LabelOptions
    >>> [type_text(one) for one in described(LabelOptions)][:4]
    ['text', 'text', 'text', 'int']
    """
    kinds = [NAMES.get(kind.strip(), kind.strip()) for kind in one.type.split("|") if kind.strip() != "None"]
    return " or ".join(dict.fromkeys(kinds))


def _experiment(name: str, given: Mapping[str, str]) -> str:
    file = configuration_folder() / "experiment" / f"{name}.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text("utf-8")) or {}
    stage = given.get("stage") or experiment_stage(name, configuration_folder())
    lines = [*header(file), "", f"usage: python -m deepcritic experiment={name} [option=value ...]", ""]
    if content.get("pipeline"):
        lines.append("runs")
        lines += [f"  python -m deepcritic {line.strip()}" for line in content["pipeline"]]
        lines += ["", "{run} is the run folder. run=, runs=, seed=, overwrite=, price. and max_cost= apply to all stages."]
        return "\n".join(lines) + "\n"
    groups = {
        str(key).removeprefix("override ").removeprefix("/").rpartition("@")[2]: value
        for entry in content.pop("defaults", [])
        if isinstance(entry, dict)
        for key, value in entry.items()
    }
    groups.pop("stage", None)
    lines += ["runs", f"  stage={stage}", "", "settings"]
    lines += [f"  {key}={value}" for key, value in groups.items()]
    lines += [f"  {one.key}={one.value}{f'  # {one.text}' if one.text else ''}" for one in settings(file)]
    shown = of_stage(stage, given, {**groups, **content}) if stage else ""
    return "\n".join(lines) + f"\n\n{shown}"


def _engine(group: str, chosen: str | None) -> Iterator[str]:
    """A group of engines: its choices, and the options of the chosen one."""
    found = {one.name: one.text for one in choices(group)}
    yield f"{group}={chosen or 'NAME'}" + (f": {found[chosen]}" if chosen in found else "")
    yield from textwrap.wrap(f"one of {', '.join(found)}", 118, initial_indent="  ", subsequent_indent="    ")
    if chosen in found:
        for one in settings(folder_of(group) / f"{chosen}.yaml"):
            yield from _wrapped(_word(f"{group}.{one.key}", one.value), "", one.text)


def _chosen(group: str, experiment: Mapping[str, Any] | None) -> str | None:
    content = yaml.safe_load((configuration_folder() / "config.yaml").read_text("utf-8"))
    defaults = (entry.items() for entry in content["defaults"] if isinstance(entry, dict))
    chosen = {key.rpartition("@")[2]: value for items in defaults for key, value in items}
    named = (experiment or {}).get(group)
    return named if isinstance(named, str) else chosen.get(group)


def _row(word: str, one: Option) -> Iterable[str]:
    text = one.text + ("; required" if one.required else "")
    if one.choices and not all(choice in one.text for choice in one.choices):
        text += f" ({', '.join(one.choices)})"
    return _wrapped(word, type_text(one), text)


def _wrapped(word: str, kind: str, text: str) -> Iterable[str]:
    start = f"  {word:<40} {kind:<10} "
    return textwrap.wrap(text, 130, initial_indent=start, subsequent_indent=" " * 54, break_on_hyphens=False) or [start.rstrip()]


def _word(key: str, value: str) -> str:
    return f"{key}={'' if value == '???' else value}"

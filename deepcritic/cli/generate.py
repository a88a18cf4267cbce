"""Write what is made from the records of the stages: `conf/stage/*.yaml` and `docs/options.md`. Run as `scripts/options`."""

from __future__ import annotations

import decimal
import json
import re
from pathlib import Path
from typing import Any

from deepcritic.cli.config import configuration_folder
from deepcritic.cli.names import run_of, stage_names
from deepcritic.options import Option, described, engines_of, record_of

_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def generated() -> dict[Path, str]:
    """Each file that is made from the records, with its content."""
    conf = configuration_folder()
    return {conf / "stage" / f"{stage}.yaml": yaml_of(stage) for stage in stage_names()}


def summary(stage: str) -> str:
    """One line on what a stage does."""
    return (record_of(run_of(stage)).__doc__ or "").split("\n\n")[0].removesuffix(".")


def yaml_of(stage: str) -> str:
    """The configuration of a stage: its engines, then its options under their headings."""
    run = run_of(stage)
    options = described(record_of(run))
    lines = [
        f"# {summary(stage)}",
        "#",
        f"# Made from deepcritic/stages/{stage}.py by scripts/options: change that file, not this one.",
        f"_target_: deepcritic.stages.{stage}.run",
    ]
    not_hashed = [one.name for one in options if one.not_hashed]
    lines += [f"_not_hashed_: [{', '.join(not_hashed)}]"] * bool(not_hashed)
    extends = [one.name for one in options if one.extends]
    lines += [f"_extends_: [{', '.join(extends)}]"] * bool(extends)
    lines += [f"{name}: ${{{name}}}" for name in engines_of(run)]
    group = None
    for one in options:
        if one.group != group:
            lines += ["", f"# {one.group}"]
            group = one.group
        lines.append(f"{one.name}: {_default(one)}  # {one.text}")
    return "\n".join(lines) + "\n"


def value_text(value: Any) -> str:
    """A value as one writes it in YAML, and on the command line.

    >>> [value_text(value) for value in (None, True, 0.00001, 3.0, "drop", "on", "a b", [])]
    ['null', 'true', '0.00001', '3.0', 'drop', '"on"', '"a b"', '[]']
    """
    if isinstance(value, float):
        return format(decimal.Decimal(repr(value)), "f")
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*", value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _default(one: Option) -> str:
    return f"${{{one.top}}}" if one.top else "???" if one.required else value_text(one.default)


def main() -> None:
    for file, content in generated().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")


if __name__ == "__main__":
    main()

"""Generate `conf/stage/*.yaml` and `docs/options.md` from the stages' option records, and `docs/critics.md` from
`conf/critic/`. Run as `scripts/options`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deepcritic.cli import critics_page
from deepcritic.cli.config import configuration_folder
from deepcritic.cli.help import settings, type_text
from deepcritic.cli.old_names import run_of, stage_names
from deepcritic.options import Option, described, engines_of, record_of, value_text


def generated() -> dict[Path, str]:
    """Each file generated from the records and presets, with its content."""
    conf = configuration_folder()
    files = {conf / "stage" / f"{stage}.yaml": yaml_of(stage) for stage in stage_names()}
    docs = conf.parent / "docs"
    return {**files, docs / "options.md": page(), docs / "critics.md": critics_page.page(conf / "critic")}


def summary(stage: str) -> str:
    """One-line summary of a stage."""
    return (record_of(run_of(stage)).__doc__ or "").split("\n\n")[0].removesuffix(".")


def yaml_of(stage: str) -> str:
    """The YAML of a stage: its engines, then its options by heading."""
    run = run_of(stage)
    options = described(record_of(run))
    lines = [
        f"# {summary(stage)}",
        "#",
        f"# Generated from deepcritic/stages/{stage}.py by scripts/options; edit that file.",
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


def page() -> str:
    """The page of all options."""
    lines = [
        "# Options",
        "",
        "<!-- Generated from deepcritic/stages/ and conf/config.yaml by scripts/options; edit those files. -->",
        "",
        "Options are written `NAME=VALUE`: `stage.samples=8`, `model=PATH`. `python -m deepcritic stage=STAGE --help` prints the",
        "options of a stage and of its engines (`sampler.`, `task.`). An option that the stage does not read is an error.",
        "",
        "## Every stage",
        "",
        *_table((one.key, one.value, one.text) for one in settings(configuration_folder() / "config.yaml") if one.text),
    ]
    old: list[tuple[str, str, str]] = []
    for stage in stage_names():
        run = run_of(stage)
        lines += ["", f"## stage={stage}", "", f"{summary(stage)}."]
        engines = ", ".join(f"`{name}=`" for name in engines_of(run))
        lines += ["", f"Engines: {engines}."] * bool(engines)
        options = described(record_of(run))
        for group in dict.fromkeys(one.group for one in options):
            lines += ["", f"### {group}", "", "| option | type | default | |", "|---|---|---|---|"]
            lines += [_row(one) for one in options if one.group == group]
        old += [(f"stage={stage}", f"stage.{one.was}", one.key) for one in options if one.was]
    lines += ["", "## Old names", "", "Deprecated names: accepted in this release with a warning, removed in the next.", ""]
    lines += ["| stage | old | new |", "|---|---|---|", *(f"| `{stage}` | `{was}` | `{new}` |" for stage, was, new in old)]
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    return ["| option | default | |", "|---|---|---|", *(f"| `{key}` | `{value}` | {text} |" for key, value, text in rows)]


def _row(one: Option) -> str:
    text = one.text.replace("|", "\\|")
    if one.choices and not all(choice in one.text for choice in one.choices):
        text += f" ({', '.join(one.choices)})"
    default = "required" if one.required else f"`{value_text(one.default)}`"
    return f"| `{one.key}` | {type_text(one)} | {default} | {text} |"


def _default(one: Option) -> str:
    return f"${{{one.top}}}" if one.top else "???" if one.required else value_text(one.default)


def main() -> None:
    for file, content in generated().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")


if __name__ == "__main__":
    main()

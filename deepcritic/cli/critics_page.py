"""Generates `docs/critics.md`, the released critics and protocols, from `conf/critic/*.yaml` (`scripts/options`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from deepcritic.evaluation.published import published

INTRO: Final = """# Released critics and protocols

<!-- Generated from conf/critic/*.yaml and data/published.yaml by scripts/options; edit those files. -->

`stage=evaluate critic=NAME` runs a released critic with its authors' settings: model, prompt, system prompt, verdict format,
sampling, votes and step numbering. Options on the command line override the preset.

```bash
git clone https://github.com/RUCBM/DeepCritic
python -m deepcritic stage=evaluate critic=deepcritic_7b_rl_prm800k critic.prompt=DeepCritic benchmark=processbench run=released
```

The prompts are not part of this package. Set `critic.prompt=` to a clone of the authors' repository, to a file, or to
`FILE:NAME` for a constant in a Python file, a key of a JSON file or a section of a README. Python files are parsed, never run.
The sha256 of each text is compared with the published one. Tables mark each result that used another prompt:

| `critic.prompt` | mark |
|---|---|
| the published texts | none |
| texts without a known checksum | `prompt not verified` |
| other texts | `another prompt` |
| `own` (this package's prompt; only for presets with a boxed verdict) | `own prompt` |
| none, with recorded replies | `prompt of the recording unknown` |
"""
PROTOCOLS: Final = ("protocol_processbench", "protocol_deepcritic")
FORMS: Final = {
    "box": "step number in the last `\\boxed{}`", "line": "step number on the last marked line",
    "labels": "`\\boxed{correct}` or `\\boxed{incorrect}` for each step", "steps": "Yes or No, one request per step",
    "reference_answer": "`\\boxed{A}`, `B` or `C`",
}  # fmt: skip
FIELDS: Final = ("model", "prompt", "system turn", "numbering", "verdict", "one sample", "votes", "limit", "licence")


def page(folder: Path) -> str:
    """The page, from the presets in `folder`."""
    presets = {file.stem: preset(file) for file in sorted(folder.glob("[a-z]*.yaml")) if file.stem != "none"}
    lines = [INTRO, "## Two protocols for any model", ""]
    lines += ["ProcessBench and DeepCritic use the same task and rows, but with different settings. Results of the two protocols"]
    lines += ["are not comparable. Set `model=` to the model.", ""]
    first, second = (facts(presets[name]) for name in PROTOCOLS)
    lines += [f"| | `critic={PROTOCOLS[0]}` | `critic={PROTOCOLS[1]}` |", "|---|---|---|"]
    lines += [f"| {name} | {first[name]} | {second[name]} |" for name in FIELDS if name != "model"]
    lines += ["| reported | F1 of four parts and their mean | F1 of these, MR-GSM8K and PRM800K, and the mean of all six |", ""]
    for name in PROTOCOLS:
        lines += _differences(f"Differences of `{name}` from the authors' script", presets[name])
    lines += ["## Presets", ""]
    families: dict[tuple[str, ...], list[str]] = {}
    for name, one in presets.items():
        if name not in PROTOCOLS:
            families.setdefault(tuple(one["differences"]), []).append(name)
    for names in families.values():
        lines += _family({name: presets[name] for name in names})
    lines += _systems()
    return "\n".join(lines).rstrip("\n") + "\n"


def _systems() -> list[str]:
    """The systems of `data/published.yaml`, with source and state."""
    known = published()
    lines = ["## Systems of late 2026", ""]
    lines += ["Results on tests of their own, from `data/published.yaml`. *Unconfirmed*: quoted from a secondary source.", ""]
    lines += ["| system | result | licence | source | state |", "|---|---|---|---|---|"]
    for one in known.systems:
        source = known.sources[one.source]
        state = "confirmed" if one.state == "read" else "unconfirmed"
        lines.append(f"| {one.name} | {one.result} | {one.license} | [{source.date}]({source.link}) | {state} |")
    return [*lines, ""]


def preset(file: Path) -> dict[str, Any]:
    """A preset merged with the file that it extends."""
    own: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    bases = [name for name in own.pop("defaults", []) if name != "_self_"]
    found: dict[str, Any] = {}
    for name in bases:
        found |= preset(file.parent / f"{name}.yaml")
    return found | own


def facts(one: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a preset as text for the page."""
    parts = one["parts"]
    places = ", ".join(f"`{part['file']}{':' + part['name'] if part.get('name') else ''}`" for part in parts.values())
    system = f"`{one['system']}`" if one.get("system") else "from the file" if "system" in parts else "of the chat template"
    written = str(one.get("step") or "").replace("{{text}}", "...").replace("{{index}}", str(one.get("index_base", 1)))
    numbered = f"from {one.get('index_base', 1)}, `{written}`" if "{{index}}" in str(one.get("step")) else "none"
    verdict = FORMS[one.get("form", "box")] + (f", after `{one['marker']}`" if one.get("marker") else "")
    votes = f"{_drawn(one['vote'])}; ties: {one.get('ties', 'first')}"
    votes += "; per step" if one.get("step_votes") else ""
    return {
        "model": f"`{one['model']}`" if one.get("model") else "any",
        "prompt": f"{places} of <{one['code']}>",
        "system turn": system,
        "numbering": numbered.replace("\n", "\\n").replace("|", "\\|"),
        "verdict": verdict,
        "one sample": _drawn(one["single"]),
        "votes": votes,
        "limit": f"{one['max_tokens']} tokens; {one['samples']} sample{'s' * (one['samples'] != 1)} by default",
        "licence": str(one["license"]),
    }


def _drawn(sampling: Mapping[str, float]) -> str:
    return f"T {sampling['temperature']}, top-p {sampling['top_p']}"


def _family(members: Mapping[str, Mapping[str, Any]]) -> list[str]:
    some = [facts(one) for one in members.values()]
    first = next(iter(members.values()))
    lines = [f"### {', '.join(str(one['name']) for one in members.values())}", "", f"Paper: <{first['paper']}>.", ""]
    lines += ["| `critic=` | model | licence |", "|---|---|---|"]
    lines += [f"| `{name}` | {one['model']} | {one['licence']} |" for name, one in zip(members, some, strict=True)]
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| {name} | {some[0][name]} |" for name in FIELDS if name not in ("model", "licence")]
    return [*lines, "", *_differences("Differences from the authors' own run", first)]


def _differences(title: str, one: Mapping[str, Any]) -> list[str]:
    return [f"{title}:", "", *(f"- {text[0].upper()}{text[1:]}." for text in one["differences"]), ""]

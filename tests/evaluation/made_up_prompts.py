"""Released critics with made-up prompts, in files of the same form as their authors' own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepcritic.cli.config import build, compose, configuration_folder
from deepcritic.evaluation.critics import ReleasedCritic

FOLDER = configuration_folder() / "critic"
NAMES = sorted(file.stem for file in FOLDER.glob("[a-z]*.yaml"))
MADE_UP = {
    "deepcritic": "Problem: {problem}\nSteps:\n{tagged_response}\nBox it as \\boxed{{}}.",
    "processbench": "[P]{problem}[S]{tagged_response}\n\\boxed{{}}",
    "thinkprm": "Check\n{problem}\nand\n{solution}\n{_instruction}",
    "fare": "[Q]{instruction}[A]{response}[/A]",
    "r_prm": "Now\nQuestion: {}\nBefore: {}\nNow: {}\nSo? ",
    "compass_verifier": "Is it {gold_answer}?\n{question}\n{llm_response}\n{{}}",
}


def critic(name: str, **more: Any) -> ReleasedCritic:
    """The preset as the command line builds it."""
    from omegaconf import OmegaConf

    words = [f"critic={name}", *(f"critic.{key}={value}" for key, value in more.items())]
    plain: dict[str, Any] = OmegaConf.to_container(compose(words).critic, resolve=True)  # type: ignore[assignment]
    made = build(plain, place="critic")
    assert isinstance(made, ReleasedCritic)
    return made


def clone(root: Path, preset: ReleasedCritic) -> Path:
    """A folder with made-up texts at the places that a preset names."""
    kind = next((kind for kind in MADE_UP if kind in (preset.code or "").lower().replace("-", "_")), "")
    kind = {"https://github.com/QwenLM/ProcessBench": "processbench"}.get(preset.code or "", kind or "genprm")
    if "Compass" in (preset.name or ""):
        kind = "compass_verifier"
    texts = {
        "user": MADE_UP.get(kind, ""),
        "system": "Be strict.",
        "instruction": "Check each step.",
        "analyze": "<look> {cur_step}: ",
    }
    texts["output"] = "<out>$\\boxed"
    written: dict[Path, dict[str, str]] = {}
    for role, part in preset.parts.items():
        file, name, text = root / part["file"], part.get("name", ""), texts[role]
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".py":
            written.setdefault(file, {})[name] = text
        elif file.suffix == ".json":
            file.write_text(json.dumps({"examples": [], name: text}), "utf-8")
        else:
            file.write_text(text + "\n", "utf-8")
    for file, named in written.items():
        file.write_text(_python(named), "utf-8")
    return root


def _python(named: Mapping[str, str]) -> str:
    """Code that has these texts at these paths, and that nobody could run."""
    lines = ["import nothing_that_exists"]
    (function,) = {name.rpartition(".")[0] for name in named if "messages" not in name} or {""}
    values = {name.rpartition(".")[2]: text for name, text in named.items()}
    if "content" in values:
        lines += [
            "def process_file(args):",
            "    if args:",
            f"        messages = [{{'role': 'system', 'content': f{values['content']!r}}}]",
        ]
    elif function == "GenPRM.inference":
        defaults = ", ".join(f"{name}={text!r}" for name, text in values.items())
        lines += ["class GenPRM:", f"    def inference(self, {defaults}):", "        pass"]
    elif function:
        lines += [f"def {function}(tokenizer, given=None):"]
        lines += [f"    {name} = given if given is not None else {text!r}" for name, text in values.items()]
    else:
        lines += [f"{name} = {text!r}" for name, text in values.items()]
    return "\n".join([*lines, ""])

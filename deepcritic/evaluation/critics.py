"""Released critics as presets (`critic=NAME`): model, prompt, verdict form, sampling, votes, source and licence in one YAML.

The prompts are not shipped; they are in the authors' repositories. A preset names the public file and the constant in it.
`critic.prompt` names the user's copy: the folder of a clone, a file, or `FILE:NAME`. Its code is not run. A known sha256 is
compared with the text; figures made with another prompt carry a remark in every table:

| `critic.prompt` | remark |
|---|---|
| the published texts | none |
| texts without a known sha256 | `prompt not verified` |
| other texts | `another prompt` |
| `own`: this package's own prompt | `own prompt` |
| none, with recorded replies | `prompt of the recording unknown` |

    critic = ReleasedCritic(name="DeepCritic-7B-SFT", prompt="DeepCritic/", parts={"user": {"file": "critique.txt"}}, ...)
    critic.task(), critic.remark
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deepcritic.errors import InputError
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.first_error import PROMPT
from deepcritic.tasks.reference_answer import ReferenceAnswer
from deepcritic.tasks.released_critic import ReleasedFirstError
from deepcritic.tasks.step_by_step import StepByStep, StepCall, StepQuestion
from deepcritic.text.foreign_prompt import from_format, from_replace, prompt_sha, read_prompt, split_place
from deepcritic.text.prompt_template import Template

OWN: Final = "own"
RECORDED: Final = "recorded"
"""In place of a prompt: the replies are recorded and their prompt is unknown."""
REMARKS: Final = {OWN: "own prompt", RECORDED: "prompt of the recording unknown"}
USER: Final = "user"
FORMS: Final = ("box", "line", "labels", "steps", "reference_answer")


@dataclass(frozen=True, kw_only=True)
class ReleasedCritic:
    """One preset. All fields have defaults, so `critic.label=NAME` alone names a run.

    `parts` maps roles to prompt texts: `user`, `system` and, for a step-by-step critic, `later` and the prefixes of its calls.
    Each has `file` (below the repository's root), `name` (see `deepcritic.text.foreign_prompt`) and `sha256`. `fields`
    maps the authors' field names to ours. `form` is how a verdict is parsed: `box`, `line`, `labels` (see
    `deepcritic.tasks.released_critic`), `steps` (one question per step) or `reference_answer`. `single` and `vote` are the
    authors' sampling for one and for several samples, `samples` their number. `differences` are those from the authors' run.
    """

    name: str | None = None
    label: str | None = None
    model: str | None = None
    prompt: str | None = None
    license: str | None = None
    paper: str | None = None
    code: str | None = None
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    grammar: str = "format"
    fields: Mapping[str, str] = field(default_factory=dict)
    system: str | None = None
    form: str = "box"
    marker: str | None = None
    index_base: int = 1
    step: str = "Step {{index}}: {{text}}"
    between: str = "\n\n"
    prefix: str = ""
    first: str | None = None
    later: str | None = None
    history: bool = False
    calls: Sequence[Mapping[str, Any]] = ()
    step_votes: bool = False
    single: Mapping[str, float] | None = None
    vote: Mapping[str, float] | None = None
    samples: int | None = None
    max_tokens: int | None = None
    ties: str | None = None
    differences: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise InputError("unknown verdict format", field="critic.form", found=self.form, expected=", ".join(FORMS))
        if self.grammar not in ("format", "replace"):
            raise InputError("unknown prompt grammar", field="critic.grammar", found=self.grammar, expected="format or replace")
        if self.prompt is not None and not self.name:
            raise InputError(
                "no critic is given", field="critic.prompt", found=self.prompt, remedy="set critic=NAME or task.template=FILE"
            )

    def for_recording(self) -> ReleasedCritic:
        """The same critic for recorded replies whose prompt is unknown."""
        return dataclasses.replace(self, prompt=RECORDED) if self.name else self

    @property
    def shown(self) -> str | None:
        """The name in tables: the user's label, else the preset's name."""
        return self.label or self.name

    @property
    def remark(self) -> str | None:
        """The remark shown beside figures; None for the published prompt or without a preset."""
        if self.name is None:
            return None
        if self.prompt in REMARKS:
            return REMARKS[self.prompt]
        known = [part.get("sha256") for part in self.parts.values()]
        if any(wanted and wanted != prompt_sha(text) for wanted, text in zip(known, self.texts.values(), strict=True)):
            return "another prompt"
        return None if all(known) else "prompt not verified"

    @functools.cached_property
    def texts(self) -> dict[str, str]:
        """The texts of the prompt by role, from the user's files. Raises `InputError` if one is missing."""
        if self.prompt is None:
            raise InputError(
                f"the prompt of {self.name} does not ship with this package",
                field="critic.prompt",
                expected=self._where(),
                remedy=self._how(),
            )
        whole = Path(self.prompt).expanduser()
        if whole.is_dir():
            return {role: read_prompt(_place(whole, part)) for role, part in self.parts.items()}
        file, name = split_place(self.prompt)
        texts = {}
        for role, part in self.parts.items():
            if role == USER or len(self.parts) == 1:
                texts[role] = read_prompt(f"{file}:{name or part.get('name')}" if name or _named(file, part) else str(file))
            elif part["file"] == self.parts[next(iter(self.parts))]["file"]:
                texts[role] = read_prompt(f"{file}:{part['name']}")
            else:
                raise InputError(
                    f"{self.name} has prompts in several files", field="critic.prompt", found=self.prompt,
                    expected=f"the folder of a clone of {self.code}",
                )  # fmt: skip
        return texts

    def task(self) -> CriticTask[Any] | None:
        """The task in the critic's own form; None without a preset."""
        if self.name is None:
            return None
        if self.form == "steps":
            return StepByStep(self._steps())
        if self.form == "reference_answer" and self.prompt == RECORDED:
            fields = ("query", "reference", "response")
            return ReferenceAnswer(
                Template(text="{{query}}\n{{reference}}\n{{response}}", fields=fields, index_base=1, name=RECORDED)
            )
        if self.form == "reference_answer":
            return ReferenceAnswer(
                Template(text=self._filled(USER), fields=self._names(USER), index_base=1, name=str(self.prompt))
            )
        return ReleasedFirstError(self._template(), form=self.form, between=self.between, prefix=self.prefix)

    def sampling(self, samples: int) -> Mapping[str, float]:
        """The authors' temperature and top_p for this number of samples; empty if unknown."""
        return (self.single if samples == 1 else self.vote) or {}

    def facts(self) -> dict[str, Any]:
        """Facts about the critic, for `metrics.json` and the tables."""
        found = {"name": self.name, "label": self.label}
        if self.name is not None:
            found |= {
                "paper": self.paper,
                "code": self.code,
                "license": self.license,
                "remark": self.remark,
                "prompt": self.prompt,
            }
            if self.prompt not in REMARKS:
                found["prompt_sha256"] = prompt_sha(*self.texts.values())
            found["differences"] = list(self.differences)  # type: ignore[assignment]
        return {name: value for name, value in found.items() if value}

    def _template(self) -> Template:
        if self.prompt == RECORDED:
            return Template(
                text="{{problem}}\n{{solution}}", fields=("problem", "solution"), index_base=self.index_base, step=self.step,
                marker=self.marker, name=RECORDED,
            )  # fmt: skip
        if self.prompt == OWN:
            if self.form != "box":
                raise InputError(
                    f"this package has no prompt for the verdict format of {self.name}", field="critic.prompt", found=OWN,
                    expected=self._where(),
                )  # fmt: skip
            own = Template.parse(PROMPT, "the built-in prompt")
            return Template(
                text=own.text,
                fields=own.fields,
                index_base=self.index_base,
                system=self.system,
                step=own.step,
                marker=self.marker,
            )
        system = self.texts.get("system", self.system)
        return Template(
            text=self._filled(USER), fields=self._names(USER), index_base=self.index_base, system=system, step=self.step,
            marker=self.marker, name=str(self.prompt),
        )  # fmt: skip

    def _steps(self) -> StepQuestion:
        if self.prompt in REMARKS:
            raise InputError(
                f"{self.name} works only with its own prompt", field="critic.prompt", found=self.prompt, expected=self._where()
            )
        calls = tuple(
            StepCall(
                prefix=self._filled(call["prefix"]) if call.get("prefix") else "", stop=tuple(call.get("stop", ())),
                max_tokens=call.get("max_tokens"),
            )
            for call in self.calls or ({},)
        )  # fmt: skip
        first = self.first or self._filled(USER)
        return StepQuestion(
            first=first, later=self.later or first, system=self.texts.get("system", self.system), history=self.history,
            written=self.step, calls=calls,
        )  # fmt: skip

    def _filled(self, role: str) -> str:
        """A text of the prompt with our field names; a field may be replaced by another text (a default instruction)."""
        convert = from_format if self.grammar == "format" else from_replace
        texts = {role_: text for role_, text in self.texts.items() if role_ not in (USER, "system")}
        inserted = {name: ours for name, ours in self.fields.items() if ours in texts}
        made = convert(self.texts[role], {**self.fields}, str(self.prompt))
        for ours in inserted.values():
            made = made.replace(f"{{{{{ours}}}}}", texts[ours])
        return made

    def _names(self, role: str) -> tuple[str, ...]:
        from deepcritic.text.prompt_template import placeholders

        return placeholders(self._filled(role))

    def _where(self) -> str:
        return " and ".join(f"{part['file']}{':' + part['name'] if part.get('name') else ''}" for part in self.parts.values())

    def _how(self) -> str:
        own = ", or critic.prompt=own for this package's prompt (marked in tables)" if self.form == "box" else ""
        return f"git clone {self.code} and set critic.prompt=FOLDER{own}"


def _place(root: Path, part: Mapping[str, Any]) -> str:
    name = part.get("name")
    return f"{root / part['file']}{':' + name if name else ''}"


def _named(file: Path, part: Mapping[str, Any]) -> bool:
    return bool(part.get("name")) and file.suffix.lower() in {".py", ".json", ".md", ".markdown"}

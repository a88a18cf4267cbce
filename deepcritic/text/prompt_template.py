r"""Prompts: `fill` puts values into a template in one pass; a `Template` is a prompt in a file that declares its fields.

Placeholders are `{{name}}`; single braces, common in mathematics, are text. Values are not scanned for placeholders, so a problem
that contains "{{solution}}" is unchanged.

>>> fill("Solve ${{ problem }}$ in {1} line.", problem=r"\frac{1}{2} + {{problem}}")
'Solve $\\frac{1}{2} + {{problem}}$ in {1} line.'
>>> fill("Solve {{problm}}.", problem="1 + 1")
Traceback (most recent call last):
deepcritic.errors.InputError: {{problm}}: the placeholder has no value; expected {{problem}}
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from deepcritic.errors import InputError
from deepcritic.schema import Message
from deepcritic.shipped_models import shipped_path

_PLACEHOLDER: Final = re.compile(r"\{\{[ \t]*+([A-Za-z_][A-Za-z0-9_]*+)[ \t]*+\}\}")
_KEYS: Final = ("fields", "index_base", "system", "step", "marker")
_EXAMPLE: Final = "---\nfields: [problem, solution]\nindex_base: 1\n---\n"


def fill(template: str, /, **fields: object) -> str:
    """`template` with every `{{name}}` replaced by that field. Each placeholder needs a field, and each field a placeholder."""
    wanted = placeholders(template)
    for name in wanted:
        if name not in fields:
            raise InputError(
                "the placeholder has no value", field=_braced(name), expected=_nearest(name, fields, "a value for it")
            )
    for name in fields:
        if name not in wanted:
            raise InputError(
                "the template has no placeholder for it", field=name, expected=_nearest(name, wanted, "a placeholder for it")
            )
    return _PLACEHOLDER.sub(lambda match: str(fields[match[1]]), template)


def placeholders(template: str) -> tuple[str, ...]:
    """The names in `template`, each once, by first occurrence.

    >>> placeholders("{{a}} {{ b }} {{a}} {c}")
    ('a', 'b')
    """
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(template)))


@dataclass(frozen=True, kw_only=True)
class Template:
    r"""A prompt that declares its fields, and whether its steps count from 0 or from 1.

    `step` is the template of one step. `marker` is the text before the reply's verdict, such as "**Answer**:"; a box before the
    marker is not a verdict. In a file the declarations are front matter, between two lines `---`:

    >>> template = Template.parse("---\nfields: [problem, solution]\nindex_base: 1\n---\n{{problem}}\n{{solution}}\n")
    >>> steps = template.solution(["1 + 1 = 2", "2 + 1 = 3"])
    >>> template.messages(problem="1 + 1 + 1?", solution=steps, other="not asked for")[0].content
    '1 + 1 + 1?\nStep 1: 1 + 1 = 2\nStep 2: 2 + 1 = 3'
    """

    text: str
    fields: tuple[str, ...]
    index_base: int
    system: str | None = None
    step: str = "Step {{index}}: {{text}}"
    marker: str | None = None
    name: str = "the template"

    def __post_init__(self) -> None:
        used = placeholders(self.text)
        for name in self.fields:
            if name not in used:
                expected = _nearest(name, used, "a placeholder for it in the text")
                raise InputError("declared, but not used in the text", file=self.name, field=f"fields: {name}", expected=expected)
        for name in used:
            if name not in self.fields:
                expected = _nearest(name, self.fields, f"{name} in `fields`", braces=False)
                raise InputError("used, but not declared in `fields`", file=self.name, field=_braced(name), expected=expected)
        if isinstance(self.index_base, bool) or self.index_base not in (0, 1):
            expected = "0 or 1: the number of the first step"
            raise InputError("not an index base", file=self.name, field="index_base", found=self.index_base, expected=expected)
        if self.system and placeholders(self.system):
            expected = "a system prompt without placeholders"
            raise InputError(
                "the system prompt has placeholders", file=self.name, field="system", found=self.system, expected=expected
            )
        if self.marker is not None and not self.marker.strip():
            expected = 'a text such as "**Answer**:", or no marker'
            raise InputError("the marker is empty", file=self.name, field="marker", found=self.marker, expected=expected)
        if "text" not in placeholders(self.step) or not set(placeholders(self.step)) <= {"index", "text"}:
            expected = "{{text}}, and {{index}} where steps are numbered"
            raise InputError("invalid step format", file=self.name, field="step", found=self.step, expected=expected)

    @property
    def sha(self) -> str:
        """Hash of everything that affects a prompt, for manifests; not of the file's name and the marker."""
        content = [self.text, list(self.fields), self.index_base, self.system, self.step]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def messages(self, **values: object) -> tuple[Message, ...]:
        """The conversation, filled with the declared fields; other `values` are ignored."""
        for name in self.fields:
            if name not in values:
                expected = _nearest(name, values, "a field of this task", braces=False)
                raise InputError("unknown field", file=self.name, field=f"fields: {name}", expected=expected)
        user = Message(role="user", content=fill(self.text, **{name: values[name] for name in self.fields}))
        return (user,) if self.system is None else (Message(role="system", content=self.system), user)

    def solution(self, steps: Sequence[str]) -> str:
        """The steps as the critic sees them, numbered from `index_base`."""
        parts = _PLACEHOLDER.split(self.step)  # texts alternating with placeholder names
        shown = []
        for index, text in enumerate(steps, start=self.index_base):
            values = {"index": str(index), "text": text}
            shown.append("".join([values[part] if at % 2 else part for at, part in enumerate(parts)]))
        return "\n".join(shown)

    @classmethod
    def of(cls, file: str | None, built_in: str) -> Template:
        """The template in `file` (a path, or `deepcritic://...`), or the built-in one if `file` is None."""
        return cls.read(shipped_path(file)) if file else cls.parse(built_in, "the built-in prompt")

    @classmethod
    def read(cls, source: str | Path) -> Template:
        """The template in a file."""
        try:
            text = Path(source).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise InputError(
                f"the template cannot be read ({reason})", file=source, expected="a text file with front matter"
            ) from None
        return cls.parse(text, str(source))

    @classmethod
    def parse(cls, text: str, name: str = "the template") -> Template:
        """The template in `text`; errors call it `name`."""
        head, body = _front_matter(text.replace("\r\n", "\n"), name)
        for key in head:
            if key not in _KEYS:
                expected = _nearest(str(key), _KEYS, f"one of {', '.join(_KEYS)}", braces=False)
                raise InputError("unknown key in the front matter", file=name, field=str(key), expected=expected)
        for key in ("fields", "index_base"):
            if key not in head:
                raise InputError("not declared in the front matter", file=name, field=key, expected=repr(_EXAMPLE))
        fields, base = head["fields"], head["index_base"]
        if not isinstance(fields, list) or not all(isinstance(field, str) for field in fields):
            raise InputError("not a list of names", file=name, field="fields", found=fields, expected="[problem, solution]")
        for key in ("system", "step", "marker"):
            if not isinstance(head.get(key, ""), str):
                raise InputError("not a text", file=name, field=key, found=head[key], expected="a text, in quotes")
        given = {key: head[key] for key in ("system", "step", "marker") if key in head}
        return cls(text=body.strip("\n"), fields=tuple(fields), index_base=base, name=name, **given)


def _front_matter(text: str, name: str) -> tuple[dict[Any, Any], str]:
    parts = re.split(r"^---[ \t]*$\n?", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) < 3 or parts[0].strip():
        raise InputError("the front matter is missing", file=name, expected=f"a file that begins with {_EXAMPLE!r}")
    try:
        head = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 2
        raise InputError("the front matter is not YAML", file=name, line=line, expected=repr(_EXAMPLE)) from None
    if not isinstance(head, dict):
        raise InputError("the front matter is empty", file=name, found=head, expected=repr(_EXAMPLE))
    return head, parts[2]


def _nearest(name: str, known: Iterable[str], otherwise: str, *, braces: bool = True) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    if not close:
        return otherwise
    return _braced(close[0]) if braces else close[0]


def _braced(name: str) -> str:
    return "{{" + name + "}}"

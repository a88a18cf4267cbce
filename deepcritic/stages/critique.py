"""Ask a critic about one solution, on the terminal.

python -m deepcritic stage=critique input=@solution.txt model=PATH
python -m deepcritic stage=critique format=json model=PATH < solution.json

The text is the problem, a line of dashes, and the solution; or JSON with `problem` and `solution` (or `steps`). It comes from a
file or standard input, because Hydra would parse parts of a text on the command line.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeGuard

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deepcritic.critic import SPLITS, Critic, Critique, read_item
from deepcritic.errors import InputError, Stopped, UsageError
from deepcritic.options import Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Sampler
from deepcritic.samplers.resume import engine_for
from deepcritic.schema import ALL_CORRECT, Item
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.proof import shown


@dataclass(frozen=True, kw_only=True)
class CritiqueOptions(Options):
    """Critique one solution on the terminal, from input=@FILE or standard input."""

    COUNTS_COST: ClassVar = False

    input: str | None = option(None, "@FILE with a problem and its solution; null: standard input", group="Data", top=True)
    format: str = option("text", "output format", top=True, choices=("text", "json"))
    split: str = option(
        "layout", "how to split a solution given as one text; rule: at sentences if the layout shows no steps",
        choices=SPLITS,
    )  # fmt: skip
    model: str | None = option(None, "critic: local folder, GGUF file or hub id (ORG/NAME@revision)", group="Model", top=True)
    samples: int = option(8, "critiques sampled; the majority verdict is reported", group="Sampling", at_least=1)
    temperature: float | None = option(None, "sampling temperature; null: 0.6 for one critique, 1.0 for several", at_least=0)
    top_p: float = option(0.9, "nucleus sampling")
    max_tokens: int | None = option(None, "maximum tokens per critique; null: up to the context length")
    seed: int = option(0, "random seed", top=True)


def run(folder: RunFolder, options: CritiqueOptions, *, task: CriticTask[Any], sampler: Callable[..., Sampler]) -> Critique:
    """Print the critique and return it. Nothing is written."""
    if task.name not in ("first_error", "proof"):
        raise UsageError(f"stage=critique needs task=first_error or task=proof; found task={task.name}")
    item = parse(*read(options.input), options.split)
    if folder.limits.trial:
        raise Stopped(f"{folder.path}: {options.samples} critiques of one solution would be requested")
    with Critic(
        sampler=engine_for(sampler, options.model, "model"), samples=options.samples, temperature=options.temperature,
        top_p=options.top_p, max_tokens=options.max_tokens, task=task, split=options.split, seed=options.seed,
    ) as critic:  # fmt: skip
        critique = critic.critique(item.problem, item.meta.get("solution", item.steps))
    with contextlib.suppress(OSError):
        folder.path.rmdir()  # it is empty
    if options.format == "json":
        print(
            json.dumps({"problem": item.problem, **_written(item), **msgspec.to_builtins(critique, str_keys=True)})
        )  # ASCII, the rest escaped
    else:
        show(item, critique)
    return critique


def read(input: str | None) -> tuple[str, str]:
    """The text and its source."""
    if input is None:
        if sys.stdin.isatty():
            raise UsageError("no input; expected input=@FILE, or text on standard input")
        name, content = "standard input", sys.stdin.buffer.read()
    elif input.startswith("@"):
        name, content = input[1:], Path(input[1:]).read_bytes()
    else:
        raise UsageError("input does not start with @; expected input=@FILE, or text on standard input")
    try:
        return content.decode("utf-8-sig"), name
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 ({error.reason})", file=name, expected="a text in UTF-8") from None


def parse(text: str, name: str = "input", split: str = "layout") -> Item:
    """Parse a problem and its solution from text or JSON.

    >>> parse("What is 1 + 1?\\n---\\nStep 1: 1 + 1 = 3").steps
    ('1 + 1 = 3',)
    """
    given: Any = None
    if text.lstrip().startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            given = json.loads(text)
    if isinstance(given, dict):
        given = given.get("item", given)
        fields: dict[str, Any] = given if isinstance(given, dict) else {}
        problem, solution = fields.get("problem"), fields.get("solution", fields.get("steps"))
        if isinstance(problem, str) and (isinstance(solution, str) or _is_texts(solution)):
            return read_item(problem, solution, split)
        expected = 'JSON with "problem" and "solution" (or "steps")'
        raise InputError("the input has no problem and solution", file=name, found=text[:80], expected=expected)
    parts = re.split(r"^\s*-{3,}\s*$", text, maxsplit=1, flags=re.MULTILINE)
    if len(parts) < 2:
        expected = "the problem, a line of dashes (---), and the solution"
        raise InputError("no line separates the problem from the solution", file=name, found=text[:80], expected=expected)
    return read_item(parts[0].strip(), parts[1].strip(), split)


def _written(item: Item) -> dict[str, str]:
    """The solution, if it was one text: `spans` are offsets into it."""
    return {"solution": item.meta["solution"]} if "solution" in item.meta else {}


def _is_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def show(item: Item, found: Critique) -> None:
    """Print the marked solution, the critique and the votes at the terminal's width."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    console.print(Text(_verdict(found), style="bold"))
    for number, issue in enumerate(found.issues, start=1):
        console.print(Padding(Text(f"{number}. {visible(issue)}", style="red", overflow="fold"), (0, 0, 0, 2)))
    console.print(Padding(Text(visible(item.problem)), (1, 0, 1, 2)))
    steps = Table.grid(padding=(0, 1))
    steps.add_column(justify="right", no_wrap=True)
    steps.add_column(overflow="fold")
    for number, step in enumerate(item.steps, start=1):
        mark, style = ("·", "") if found.grade is not None else _mark(number, found.first_error)
        votes = found.votes.get(number, 0)
        body = Text(visible(step), style="dim" if style == "dim" else "")
        if votes:
            body.append(f"\n^ named by {votes:g} of {_counted(found):g} critiques", style="bold" if style == "red" else "")
        steps.add_row(Text(f"{mark} {number}", style=style), body)
    console.print(steps)
    if item.meta and len(item.steps) == 1:
        console.print(Text("\nOne step: the solution has no headings, lists or blank lines (see stage.split=rule).", style="dim"))
    if found.text:
        console.print(Text("\nThe critique", style="bold"))
        console.print(Padding(Text(visible(found.text), overflow="fold"), (0, 0, 0, 2)))
    console.print(Text(f"\n{_votes(found)}", style="dim"))


def visible(text: str) -> str:
    """Escape control and invisible characters in `text`.

    >>> visible("a\\x1b[2Jb\\u202ec\\nd")
    'a\\\\x1b[2Jb\\\\u202ec\\nd'
    """
    kept = text.replace("\r\n", "\n")
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in kept)


def _verdict(found: Critique) -> str:
    share = f" ({found.agreement:.0%} of {_counted(found):g} votes)"
    if found.grade is not None:
        return f"Grade: {shown(found.grade)} of {shown(found.full_marks)}{share}. Issues: {len(found.issues)}."
    if found.first_error is None:
        return f"No verdict: {visible(found.note)}."
    what = "all steps are correct" if found.first_error == ALL_CORRECT else f"step {found.first_error} is the first wrong step"
    return f"Verdict: {what}{share}."


def _mark(number: int, first_error: int | None) -> tuple[str, str]:
    if first_error is None:
        return "?", ""
    if first_error == ALL_CORRECT or number < first_error:
        return "✓", "green"
    return ("✗", "red") if number == first_error else ("·", "dim")


def _counted(found: Critique) -> float:
    return sum(found.votes.values()) + sum(found.grades.values())


def _votes(found: Critique) -> str:
    names = {step: "all correct" if step == ALL_CORRECT else f"step {step}" for step in found.votes}
    parts = [f"{names[step]}: {votes:g}" for step, votes in found.votes.items()]
    parts += [f"grade {shown(grade)}: {votes:g}" for grade, votes in found.grades.items()]
    parts += [f"{word}: {count}" for word, count in (("unparsed", found.unparsed), ("failed", found.failed)) if count]
    return f"votes {', '.join(parts) or 'none'} · {found.tokens:,} tokens"

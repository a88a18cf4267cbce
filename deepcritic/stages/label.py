"""Turn saved rollouts into step labels by a rule, without a model. The only gold used is the reference answer.

python -m deepcritic stage=label stage.solutions=.../solutions.jsonl stage.rollouts=.../generations.jsonl run=x
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import msgspec

from deepcritic.answers import COMPARED
from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.own import rows_of
from deepcritic.datasets.reading import read_lines
from deepcritic.errors import InputError, UsageError
from deepcritic.labels.quality import LabelReport, SolutionLabel, explain, share, solution_label
from deepcritic.labels.rollouts import reached_answer
from deepcritic.labels.rules import RULES, Discard, Label, Outcome, Table, decide, unusable
from deepcritic.options import REQUIRED, Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_json, replacing, write_json, write_rows
from deepcritic.samplers.finish_reason import LENGTH, finish_reason
from deepcritic.samplers.recorded import RecordedSampler, Reply
from deepcritic.schema import Example, Generation, Judged, encode
from deepcritic.tasks.base import CriticTask

FILE = "labelled.jsonl"
CONSENSUS = "consensus"


@dataclass(frozen=True, kw_only=True)
class LabelOptions(Options):
    """Turn rollouts into step labels by a rule, without a model."""

    NEEDS: ClassVar = {"task": "consensus"}

    solutions: str = option(REQUIRED, "solutions.jsonl of stage=solve", group="Data")
    rollouts: str = option(REQUIRED, "generations.jsonl of stage=rollout")
    rule: str = option("deepcritic", "label rule", group="Labels", choices=tuple(RULES))
    samples: int | None = option(
        None, "rollouts used per prefix, k in the rules; null: as many as stage=rollout requested", at_least=1
    )
    consensus: str | None = option(
        None, "verdicts.jsonl of stage=evaluate or a critic's replies; only labels that match the critic's verdict are kept"
    )
    truth: str | None = option(None, "the same solutions with true first errors; used only for report.json", group="Report")


def run(folder: RunFolder, options: LabelOptions, *, task: CriticTask[Any]) -> dict[str, Any]:
    """Return the manifest. Writes `labelled.jsonl` (Example rows), `labels.jsonl` (every solution with its counts) and
    `report.json`. Uses rollouts 0 .. `samples` - 1 of each prefix.
    """
    rule = options.rule
    samples = options.samples or _asked(Path(options.rollouts))
    files = {name: getattr(options, name) for name in ("solutions", "rollouts", "consensus", "truth")}
    if not folder.begin(**{name: Path(file) for name, file in files.items() if file}):
        return folder.manifest or {}
    rows = list(example_rows.read(options.solutions))
    if not rows:
        raise InputError("no rows", file=options.solutions, expected="solutions.jsonl of stage=solve")
    undecided: Counter[str] = Counter()
    tables = read_tables(rows, Path(options.rollouts), samples, folder / COMPARED, undecided)
    known = {row.id: row.gold.first_error for row in example_rows.read(options.truth)} if options.truth else {}
    critic = Consensus(read_verdicts(Path(options.consensus), task)) if options.consensus else None
    report, ledger = LabelReport(rule), folder.ledger("solutions")
    ledger.enter(len(rows))

    def labelled(every: IO[bytes]) -> Iterator[Example]:
        for row in rows:
            if (reason := unusable(row)) is not None:
                ledger.drop(reason)
                every.write(encode(SolutionLabel(id=row.id, rule=rule, first_error=None, reason=reason)) + b"\n")
                continue
            table = tables[row.id]
            outcomes: dict[str, Outcome] = {name: decide(name, table) for name in RULES}
            outcome = outcomes[rule]
            if critic is not None:
                outcome = outcomes[CONSENSUS] = critic.beside(outcome, row.id)
            true = known.get(row.id)
            report.add(table, outcomes, true if isinstance(true, int) else None)
            every.write(encode(solution_label(row.id, rule, outcome, table)) + b"\n")
            if isinstance(outcome, Label):
                ledger.keep()
                yield with_label(row, outcome)
            else:
                ledger.drop(explain(outcome)[1] or "")

    with replacing(folder / "labels.jsonl") as every:
        kept = write_rows(folder / FILE, labelled(every))
    content = {"samples": samples, **report.as_dict(), **({CONSENSUS: critic.figures()} if critic else {})}
    write_json(folder / "report.json", content)
    first_errors = content["rules"].get(CONSENSUS if critic else rule, {}).get("labels", {})
    print(f"{folder.path}: {kept} of {len(rows)} solutions labelled, first errors {first_errors}")
    print("\n".join(report.lines()))
    facts = {name: content[name] for name in ("rule", "unconfirmed", "samples", CONSENSUS) if name in content}
    return folder.finish(first_errors=first_errors, undecided=dict(sorted(undecided.items())), **facts)


class Consensus:
    """Keeps and counts labels whose first error a critic confirms."""

    def __init__(self, verdicts: dict[str, Any]) -> None:
        self._verdicts = verdicts
        self._counts: Counter[str] = Counter()

    def beside(self, outcome: Outcome, identity: str) -> Outcome:
        """The label if the critic agrees, else the reason to discard it."""
        if not isinstance(outcome, Label):
            return outcome
        self._counts["labelled"] += 1
        verdict = self._verdicts.get(identity)
        if verdict is None:
            fate = "the critic's verdict is unparsed" if identity in self._verdicts else "no verdict from the critic"
        else:
            fate = "same" if verdict == outcome.first_error else "the critic disagrees"
        self._counts[fate] += 1
        return outcome if fate == "same" else Discard(fate)

    def figures(self) -> dict[str, Any]:
        """The share of labels kept, and among those with a verdict the share where rule and critic agree."""
        same, other = self._counts["same"], self._counts["the critic disagrees"]
        return {"kept": share(same, self._counts["labelled"]), "agreement": share(same, same + other)}


def with_label(row: Example, label: Label) -> Example:
    """The solution with its label as gold."""
    gold = msgspec.structs.replace(row.gold, first_error=label.first_error, step_ratings=label.ratings, step_values=label.values)
    return msgspec.structs.replace(row, gold=gold)


def read_tables(rows: list[Example], rollouts: Path, samples: int, compared: Path, undecided: Counter[str]) -> dict[str, Table]:
    """The table of rollouts of each solution that can be labelled. Sample numbers from `samples` on are ignored."""
    tables = {row.id: Table(len(row.item.steps), samples, bool(row.gold.answer_right)) for row in rows if unusable(row) is None}
    steps = {row.id: len(row.item.steps) for row in rows}
    references = {row.id: row.gold.reference_answer or "" for row in rows}

    taken = {name: bytearray(table.samples * table.steps) for name, table in tables.items()}
    number = 0

    def usable() -> Iterator[Generation]:
        nonlocal number
        for number, draw in enumerate(rows_of(rollouts, Generation), start=1):
            key = draw.key
            if not 1 <= key.step < steps.get(key.example_id, 0):
                field, found = ("key.step", key.step) if key.example_id in steps else ("key.example_id", key.example_id)
                raise InputError(
                    "the rollout belongs to an unknown solution or step", file=rollouts, line=number, field=field, found=found,
                    expected="rollouts of the given solutions",
                )  # fmt: skip
            if key.sample < 0:
                raise InputError(
                    "no such sample", file=rollouts, line=number, field="key.sample", found=key.sample, expected="a number from 0"
                )
            if key.example_id in tables and key.sample < samples:
                place = key.step * samples + key.sample
                if taken[key.example_id][place]:
                    raise InputError(
                        "duplicate rollout", file=rollouts, line=number, field="key.sample", found=key.sample,
                        expected="one rollout per prefix and sample",
                    )  # fmt: skip
                taken[key.example_id][place] = 1
                yield draw

    for key, reached in reached_answer(usable(), references.__getitem__, compared, undecided):
        tables[key.example_id].put(key.step, key.sample, reached)
    if not number:
        raise InputError("no rows", file=rollouts, expected="generations.jsonl of stage=rollout")
    return tables


def read_verdicts(path: Path, task: CriticTask[Any]) -> dict[str, Any]:
    """A critic's verdict on each solution, from `verdicts.jsonl` of `evaluate` or from replies; None if unparsed."""
    first: Any = next((json.loads(line) for _, line in read_lines(path)), None)
    if first is None:
        raise InputError("no rows", file=path, expected="verdicts.jsonl of stage=evaluate, or a critic's replies")
    if isinstance(first, dict) and "verdicts" in first:
        return {row.id: row.vote for row in rows_of(path, Judged)}
    recorded = RecordedSampler(path)
    samples = recorded.samples()

    def verdict(reply: Reply) -> Any:
        cut = finish_reason(reply.finish_reason) == LENGTH and task.marker is not None  # see `verdict_of`
        return None if cut else task.parse(reply.text, reply.context)

    return {name: task.vote([verdict(recorded.read(one)) for one in of]).verdict for name, of in samples.items()}


def _asked(rollouts: Path) -> int:
    """The number of rollouts requested per prefix, from the configuration in their folder."""
    beside = rollouts.parent / "config.json"
    samples = read_json(beside).get("samples") if rollouts.is_file() and beside.is_file() else None
    if rollouts.is_file() and not isinstance(samples, int):
        raise UsageError(f"{beside} does not contain the number of rollouts per prefix; set stage.samples=K")
    return samples if isinstance(samples, int) else 1

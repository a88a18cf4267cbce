"""Graded proofs for `task=proof`, and critiques of proofs for `task=meta_verification`.

`gold.grade` is the share of the full marks. A solution is one step, as it was written. `item.meta` holds what a grader may see
(`reference_solution`, `rubric`), the `generator`, and for meta-verification the `critique`.

    for row in proofbench("wenjiema02/ProofBench", split="train"): ...
    for row in imo_gradingbench("gradingbench.csv"): ...
    for row in judgements("test.jsonl"): ...
    for row in nemotron_proofs("train.jsonl"): ...
    for row in nemotron_meta("train.jsonl"): ...
    for row in critiques("runs/x/evaluate"): ...          # of an evaluation with task=proof, not rated yet
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from deepcritic.datasets.base import Report, convert_each, reader
from deepcritic.datasets.fields import missing, take
from deepcritic.datasets.reading import Record, read_lines
from deepcritic.errors import InputError
from deepcritic.schema import Example, Generation, Gold, Item, content_id, decode
from deepcritic.text.parsing import last_boxed, strip_thinking

POINTS: Final = 7
"""The full marks of ProofBench and IMO-GradingBench."""
_JUDGEMENT: Final = re.compile(r"\s*(?:\**Judge?ment\**\s*:)?\s*\**\s*(yes|no)\b\W*", re.IGNORECASE)
_INPUT: Final = re.compile(
    r"\A.*^## Problem[ \t]*\n(?P<problem>.*?)\n## Solution[ \t]*\n(?P<rest>.*)\Z", re.DOTALL | re.MULTILINE
)
_EVALUATION: Final = "\n## Solution Evaluation\n"
_HALVES: Final = {"0": 0.0, "0.0": 0.0, "0.5": 0.5, "1": 1.0, "1.0": 1.0}


def _proofbench(record: Record, *, license: str | None = "MIT") -> Example:
    """The proofs of ProofBench (arXiv 2510.13888): 145 problems with proofs by several models, each rated by experts from 0 to 7.
    `wenjiema02/ProofBench` with split `train` or `best_of_n`, or a file with its rows."""
    problem_id, generator = take(record, "problem_id", str), take(record, "generator", str)
    number = record.get("response_number")
    name = f"proofbench-{problem_id}-{generator}" + (f"-{number}" if isinstance(number, int) else "")
    rating = _points(record, "expert_rating")
    aids = {"reference_solution": record.get("reference_solution"), "rubric": record.get("marking_scheme")}
    return _example(
        name, take(record, "problem", str), take(record, "model_solution", str), rating / POINTS, source="proofbench",
        license=license, generator=generator, **aids,
    )  # fmt: skip


def _imo_gradingbench(record: Record, *, license: str | None = "CC-BY-4.0") -> Example:
    """The gradings of IMO-GradingBench (arXiv 2511.01846): 1,000 solutions of olympiad problems, graded by people from 0 to 7.
    `gradingbench.csv` of google-deepmind/superhuman (folder imobench)."""
    points = _points(record, "Points")
    aids = {"reference_solution": record.get("Solution"), "rubric": record.get("Grading guidelines")}
    return _example(
        f"imo_gradingbench-{take(record, 'Grading ID', str)}", take(record, "Problem", str), take(record, "Response", str),
        points / POINTS, source="imo_gradingbench", license=license, **aids,
    )  # fmt: skip


def _judgements(record: Record, *, license: str | None = None) -> Example:
    """Proofs that are right or wrong, in the form of NVIDIA's NeMo Skills and NeMo Gym (`math_proof_judgement`): `problem`,
    `proof`, and `expected_judgement`, "Judgement: Yes" or "Judgement: No"."""
    said = take(record, "expected_judgement", str)
    found = _JUDGEMENT.fullmatch(said)
    if found is None:
        expected = "Judgement: Yes or Judgement: No"
        raise InputError("no judgement", field="expected_judgement", found=said, expected=expected)
    meta = record.get("metadata")
    generator = meta.get("model_id") if isinstance(meta, dict) else None
    aids = {"reference_solution": record.get("ground_truth_proof"), "rubric": record.get("rubric")}
    problem, proof = take(record, "problem", str), take(record, "proof", str)
    return _example(
        content_id("proof_judgements", problem, [proof]), problem, proof, float(found[1].lower() == "yes"),
        source="proof_judgements", license=license, generator=generator if isinstance(generator, str) else None, **aids,
    )  # fmt: skip


def _nemotron_proofs(record: Record, *, license: str | None = "CC-BY-4.0") -> Example | tuple[Example, ...]:
    """The verifications of `nvidia/Nemotron-Math-Proofs-v2`: proofs graded 0, 0.5 or 1 by DeepSeek-V4-Pro. The labels are a
    model's. Proofs and meta-verifications in the file are rows of another kind."""
    asked, grade = _dialogue(record)
    found = None if asked is None else _INPUT.fullmatch(asked)
    if found is None or _EVALUATION in found["rest"]:
        return ()
    return _example(
        f"nemotron_proofs-{take(record, 'uuid', str)}", found["problem"], found["rest"], grade(), source="nemotron_proofs",
        license=_license(record, license),
    )  # fmt: skip


def _nemotron_meta(record: Record, *, license: str | None = "CC-BY-4.0") -> Example | tuple[Example, ...]:
    """The meta-verifications of `nvidia/Nemotron-Math-Proofs-v2`, for `task=meta_verification`: critiques of proofs, rated 0, 0.5
    or 1 by DeepSeek-V4-Pro. The labels are a model's."""
    asked, grade = _dialogue(record)
    found = None if asked is None else _INPUT.fullmatch(asked)
    if found is None or _EVALUATION not in found["rest"]:
        return ()
    solution, _, critique = found["rest"].rpartition(_EVALUATION)
    return _example(
        f"nemotron_meta-{take(record, 'uuid', str)}", found["problem"], solution, grade(), source="nemotron_meta",
        license=_license(record, license), critique=_text("messages", critique),
    )  # fmt: skip


def _example(name: str, problem: str, solution: str, grade: float, *, source: str, license: str | None, **meta: Any) -> Example:
    for key, value in meta.items():
        if value is not None and not isinstance(value, str):
            raise InputError("wrong type", field=key, found=value, expected="a text")
    kept = {key: value.strip() for key, value in meta.items() if value and value.strip()}
    item = Item(problem=problem.strip(), steps=(_text("solution", solution),), meta=kept)
    return Example(id=name, item=item, gold=Gold(grade=grade), source=source, license=license)


def _text(field: str, text: str) -> str:
    if not text.strip():
        raise InputError("the text is empty", field=field, found=text, expected="the solution that is graded")
    return text.strip()


def _points(record: Record, name: str) -> int:
    """Whole points from 0 to 7; a CSV file has them as text."""
    if name not in record:
        raise missing(record, name, f"whole points from 0 to {POINTS}")
    value = record[name]
    if isinstance(value, str) and re.fullmatch(r"[0-9]+(?:\.0+)?", value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in range(POINTS + 1):
        raise InputError("no points", field=name, found=value, expected=f"whole points from 0 to {POINTS}")
    return int(value)


def _license(record: Record, default: str | None) -> str | None:
    given = record.get("license")
    return given if isinstance(given, str) and given else default


def _dialogue(record: Record) -> tuple[str | None, Any]:
    """The last user message, and a function that reads the grade in the reply to it. None if there is no such pair."""
    messages = take(record, "messages", list)
    said = [
        (one["role"], one["content"])
        for one in messages
        if isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
    ]
    if len(said) != len(messages):
        raise InputError("no conversation", field="messages", found=messages[:1], expected="messages with a role and a content")
    if [role for role, _ in said[-2:]] != ["user", "assistant"]:
        return None, None

    def grade() -> float:
        answer = strip_thinking(said[-1][1])
        box = None if answer is None else last_boxed(answer)
        if box is None or box.strip() not in _HALVES:
            raise InputError("no grade", field="messages", found=box, expected=r"a reply that ends with \boxed{0}, {0.5} or {1}")
        return _HALVES[box.strip()]

    return said[-2][1], grade


def critiques(path: str | Path, *, scale: str = "halves", max_bad: int = 0, report: Report | None = None) -> Iterator[Example]:
    """The critiques of an evaluation with `task=proof`, as rows of `task=meta_verification` without a rating: those of proofs
    that did not get full marks. `path` is its folder, `scale` the critic's. Rate them in `gold.grade`."""
    folder, full = Path(path).expanduser(), {"halves": ("1", "1.0"), "points": ("7", "7.0")}
    files = [folder / "examples.jsonl", folder / "generations.jsonl"]
    if scale not in full:
        raise InputError("no scale of grades", field="source.scale", found=scale, expected=" or ".join(full))
    for file in files:
        if not file.is_file():
            raise InputError("not the folder of an evaluation", file=file, expected="a folder of stage=evaluate task=proof")
    examples: dict[str, Example] = {row.id: row for row in (decode(line, Example) for _, line in read_lines(files[0]))}
    replies = ((place, decode(line, Generation)) for place, line in read_lines(files[1]))

    def convert(reply: Generation) -> Example | tuple[Example, ...]:
        row = examples.get(reply.key.example_id)
        if row is None:
            raise InputError("a reply to no row of examples.jsonl", field="key.example_id", found=reply.key.example_id,
                             expected="the files of one evaluation")  # fmt: skip
        text = strip_thinking(reply.prefix + reply.text)
        box = None if text is None or reply.finish_reason == "length" else last_boxed(text)
        if text is None or box is None or box.strip() in full[scale]:
            return ()
        aids: dict[str, Any] = {name: row.item.meta[name] for name in ("reference_solution", "rubric") if name in row.item.meta}
        meta: dict[str, Any] = {**aids, "critique": text.strip(), "scale": scale}
        return Example(
            id=f"{row.id}/critique-{reply.key.sample}", item=msgspec.structs.replace(row.item, meta=meta), source=row.source,
            parent_id=row.id, license=row.license,
        )  # fmt: skip

    return convert_each(replies, convert, max_bad, report or Report())


proofbench = reader(_proofbench)
imo_gradingbench = reader(_imo_gradingbench)
judgements = reader(_judgements)
nemotron_proofs = reader(_nemotron_proofs)
nemotron_meta = reader(_nemotron_meta)

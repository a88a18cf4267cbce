r"""Problems with reference answers: NuminaMath-CoT, and the training sets of MATH and GSM8K.

    for row in math_problems.gsm8k("gsm8k/train.jsonl.gz"): ...
    for row in math_problems.numina("AI-MO/NuminaMath-CoT", split="train"): ...

Conventions of the sets:

- GSM8K: `question`; the answer is what follows `#### ` on the last line, its thousands without commas.
- MATH: `problem`, `final_answer` in LaTeX without a box; two of the 7,500 are empty.
- NuminaMath-CoT: `problem`, `solution` with the answer in its last box, `source` (the collection it came from). Proofs have none.

A problem without an answer is kept; `solve` sets it aside. A problem that occurred before, ignoring white space, is skipped and
counted in the report as `repeated`.
"""

from __future__ import annotations

from typing import Any

from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import Example, Gold, Item, content_id
from deepcritic.text.parsing import last_boxed


def _gsm8k(record: Record) -> Example:
    """GSM8K: the authors' `train.jsonl`, or `openai/gsm8k` on the hub."""
    solution = take(record, "answer", str)
    _, mark, answer = solution.rpartition("#### ")
    if not mark:
        raise InputError("no final answer", field="answer", found=solution[-60:], expected="a last line `#### 42`")
    return _example("gsm8k", take(record, "question", str), answer.strip().replace(",", ""), "MIT")


def _math(record: Record) -> Example:
    """MATH's training problems with answers extracted from the solutions (`extracted_problems_and_answers.json` of OpenR)."""
    return _example("math", take(record, "problem", str), take(record, "final_answer", str), "MIT")


def _numina(record: Record) -> Example:
    """NuminaMath-CoT: `AI-MO/NuminaMath-CoT` on the hub, or a file of its rows."""
    meta = {"subset": record["source"]} if isinstance(record.get("source"), str) else {}
    answer = last_boxed(take(record, "solution", str))
    return _example("numina_math", take(record, "problem", str), answer or "", "Apache-2.0", meta)


def _example(source: str, problem: str, answer: str, licence: str, meta: dict[str, Any] | None = None) -> Example:
    return Example(
        id=content_id(source, " ".join(problem.split())),
        item=Item(problem=problem, meta=meta or {}),
        gold=Gold(reference_answer=answer.strip() or None),
        source=source,
        license=licence,
    )


gsm8k = reader(_gsm8k, repeats=True)
math = reader(_math, repeats=True)
numina = reader(_numina, repeats=True)

"""From critiques to training dialogues: which solutions are kept, and the text to train on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from deepcritic.schema import ALL_CORRECT, Dialogue, Message, Row
from deepcritic.seeding.best_of_n import Answers
from deepcritic.seeding.funnel import Funnel
from deepcritic.seeding.prompts import CUT, EMPTY, GIVEN_AWAY, UNPARSED, WRONG, Call, without_verdict
from deepcritic.seeding.solutions import Material
from deepcritic.tasks.base import CriticTask
from deepcritic.text.prompt_template import fill, placeholders

PLAIN: Final = "above stage.plain_correct"
NOT_READ_BACK: Final = "the verdict does not parse back"
KEPT: Final = "kept"
NO_LICENSE: Final = "unknown"
"""A string, as JSON Lines readers reject a column that begins with nulls and continues with strings."""


class Critique(Row, frozen=True, kw_only=True):
    """The choice for a step: the key of the sample by call, and whether its verdict agrees with the label."""

    step: int
    samples: dict[str, str]
    agrees: dict[str, bool]


class Lineage(Row, frozen=True, kw_only=True):
    """A solution that the teacher was asked about: its outcome, and the chosen samples."""

    id: str
    fate: str
    first_error: int
    critiques: tuple[Critique, ...]


def sift(
    call: Call, names: Sequence[str], answers: Answers, *, must_agree: bool, fates: dict[str, str], funnel: Funnel
) -> list[str]:
    """The solutions that pass a call: each of their steps has a choice, which agrees if it must. Others are filtered."""
    lost: Counter[str] = Counter()
    failed = 0
    for name in names:
        places = call.places(name)
        reasons = [answers.refused[place] for place in places if place in answers.refused and place not in answers.chosen]
        if any(place in answers.failed for place in places):
            fates[name], failed = f"{call.title}: no reply", failed + 1
        elif reasons or (must_agree and not all(answers.chosen[place].agrees for place in places)):
            reason = reasons[0] if reasons else WRONG
            lost[reason] += 1
            fates[name] = f"{call.title}: {reason}"
    for reason in (UNPARSED, WRONG, CUT, EMPTY, GIVEN_AWAY):
        if lost[reason] or reason == UNPARSED or (reason == WRONG and must_agree):
            funnel.drop(f"{call.title}: {reason}", lost[reason])
    if failed:
        funnel.fail(f"{call.title}: no reply", failed)
    return [name for name in names if name not in fates]


def mix(
    names: Sequence[str], material: Material, initial: Answers | None, *, plain_correct: int, seed: int,
    fates: dict[str, str], funnel: Funnel,
) -> list[str]:  # fmt: skip
    """Every solution with an error, every one whose initial critique was corrected, and `plain_correct` others."""
    plain = [name for name in names if material.first_errors[name] == ALL_CORRECT and not corrected(name, material, initial)]
    random.Random(f"mix/{seed}").shuffle(plain)
    fates.update((name, PLAIN) for name in plain[plain_correct:])
    funnel.drop(PLAIN, len(plain[plain_correct:]))
    return [name for name in names if name not in fates]


def corrected(name: str, material: Material, initial: Answers | None) -> bool:
    """Whether the initial critique was wrong about one of the solution's steps."""
    return initial is not None and any(not initial.chosen[place].agrees for place in material.places[name])


def compose(
    names: Sequence[str], material: Material, calls: Sequence[Call], answers: Mapping[str, Answers],
    task: CriticTask[Any], heading: str, fates: dict[str, str], funnel: Funnel,
) -> list[Dialogue]:  # fmt: skip
    """A dialogue per solution. Dialogues whose verdict the task does not parse back are left out."""
    dialogues = []
    for name in names:
        dialogue = _dialogue(name, material, calls, answers, task, heading)
        if task.parse(dialogue.messages[-1].content) == dialogue.verdict:
            dialogues.append(dialogue)
        else:
            fates[name] = NOT_READ_BACK
    funnel.drop(NOT_READ_BACK, len(names) - len(dialogues))
    return dialogues


def _dialogue(
    name: str, material: Material, calls: Sequence[Call], answers: Mapping[str, Answers], task: CriticTask[Any], heading: str
) -> Dialogue:
    """The task's own prompt, and as its reply the last call's texts in order with the verdict at the end."""
    row, verdict, last = material.rows[name], material.first_errors[name], calls[-1]
    parts = [
        (headed(heading, place.step) if place.step else "") + without_verdict(answers[last.name].chosen[place].text)
        for place in last.places(name)
    ]
    reply = "\n".join([*parts, task.format(verdict)]).strip()
    return Dialogue(
        id=row.id,
        task=task.name,
        messages=(*task.ask(row.item).messages, Message(role="assistant", content=reply)),
        verdict=verdict,
        provenance=tuple(answers[call.name].chosen[place].key for place in last.places(name) for call in calls),
        source=row.source,
        license=row.license or NO_LICENSE,
    )


def headed(heading: str, step: int) -> str:
    """The heading before the critique of a step. `{{index}}` is its number."""
    return fill(heading, **({"index": step} if "index" in placeholders(heading) else {}))


def lineage(name: str, fate: str, material: Material, calls: Sequence[Call], answers: Mapping[str, Answers]) -> Lineage:
    """The choices about a solution, up to the last call that it passed."""
    critiques = []
    for place in calls[-1].places(name):
        chosen = {call.name: answers[call.name].chosen.get(place) for call in calls if call.name in answers}
        taken = {call: choice for call, choice in chosen.items() if choice is not None}
        critiques.append(
            Critique(
                step=place.step,
                samples={call: choice.key for call, choice in taken.items()},
                agrees={call: choice.agrees for call, choice in taken.items()},
            )
        )
    return Lineage(id=name, fate=fate, first_error=material.first_errors[name], critiques=tuple(critiques))

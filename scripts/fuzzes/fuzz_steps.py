r"""Searches for solutions that are split wrongly, lose characters, or take long to split.

scripts/fuzz steps --minutes 10

A third of the inputs are built from steps in a known layout. The others are the golden texts and solutions of
people and models, cut, spliced and repeated.

- `layout`: a built solution is split into other steps
- `lost`: visible text is in none of the steps, or in two
- `map`: a step's text differs from the text at its position
- `cut`: a step begins within a formula, an environment or a code fence
- `empty`: a step without text, or with space around it
- `line ends`: the same text with Windows line ends has other steps
- `again`: the steps, written with tags and split again, differ
- `rule`, `model`: the same faults in a text split by the rule or by a model's reply; or too many steps
- `heading`: a removed heading cannot be restored
- `slow`: splitting took more than a fifth of a second
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence

from fuzzing import golden, rows_of, search, spliced

from deepcritic.labels.splitting import divided, place_of, read
from deepcritic.schema import Example, Generation, Item, Key
from deepcritic.text.protected_spans import protected
from deepcritic.text.splitting import pieces, split_by_rule
from deepcritic.text.steps import UNSEEN, Step, find_steps, split_steps, strip_heading

LAYOUTS = (
    "Step {}: {}", "**Step {}:** {}", "*Step {}*: {}", "### Step {}\n{}", "step {}. {}", "- **Step {}:** {}",
    "> Step {}: {}", "[Step {}] {}", "\\textbf{{Step {}:}} {}", "{{\\bf Step {}:}} {}", "步骤{}：{}", "第{}步：{}",
    "Step #{}: {}", "Step\xa0{}:\xa0{}", "\u200bStep {}: {}", "Step {}—{}", "Step {}/99: {}", "Step {}) {}",
    "STEP {} - {}", "\\section*{{Step {}}}\n{}", "{}. {}", "{}) {}", "({}) {}", "{}、{}", "**{}.** {}", "### {}. {}",
    "<step_{}>\n{}\n</step_{}>", "<step {}>{}</step>", "<step id=\"{}\">{}</step>", "<paragraph_{}>{}</paragraph_{}>",
    "Étape {} : {}", "Step {} -> {}",
)  # fmt: skip
BODIES = (
    "a = b", "Add 2 and 3.", "$$a\n\n= b$$", "We get\n\\[\na\n\n= b\n\\]\nso.", "\\begin{align}\na\n\n\\end{align}",
    "```\nStep 9: x\n\n1. y\n```", "x\n\ny", "\\begin{cases}a\n\nb\\end{cases}", "It is 2.5 cm.", "两边相加，得 5。", "$x. Y$",
    "By (1), x = 2.",
)  # fmt: skip
SIGNS = "0123456789ab+-*_#>.:()[]{}|\\ $`~<\n\n\n：。\u200b\xa0\r"
_MOVED = str.maketrans("", "", "*_`{}\\$>#<()[]")  # emphasis and brackets of a title are moved before it


def built(draw: random.Random) -> tuple[str, list[str]]:
    steps = [draw.choice(BODIES) for _ in range(draw.randrange(2, 7))]
    layout = draw.choice(LAYOUTS)
    if layout[0] not in "*S#s-[\\{步第É\u200b<>" or layout.startswith(("**{}", "### {}", "{}")):
        steps = [step for step in steps if "\n\n" not in step or protected(step)] or ["a", "b"]
    steps = steps if len(steps) > 1 else [*steps, "b"]
    gap = draw.choice(["\n", "\n\n"])
    return gap.join(layout.format(number, step, number) for number, step in enumerate(steps, start=1)), steps


def inputs(draw: random.Random) -> Iterator[tuple[str, list[str] | None]]:
    """Solutions, with their steps if known."""
    texts = [case["text"] for cases in golden("steps").values() for case in cases]
    for row in rows_of("answer_equivalence", "qwen_math_cot_samples_first50.jsonl.gz"):
        texts += row["pred"]
    for name in ("gsm8k.json", "math.json.gz"):
        texts += ["\n\n".join(row["steps"]) for row in rows_of("processbench", name)]
    texts += ["\n".join(row["steps"]) for row in rows_of("mr_gsm8k", "processed_test_first_half.json")]
    texts = [text for text in texts if text]
    while True:
        if draw.random() < 0.33:
            yield built(draw)
            continue
        text = draw.choice([draw.choice(texts), built(draw)[0]])[:3000]
        for _ in range(draw.choice([0, 1, 1, 2, 3, 5])):
            text = spliced(draw, text, draw.choice([draw.choice(texts), built(draw)[0]]), SIGNS)[:6000]
        yield text, None


def finds(draw: random.Random, tried: tuple[str, list[str] | None]) -> Iterator[str]:
    """The faults in the split of a solution."""
    text, known = tried
    began = time.thread_time()
    steps = find_steps(text)
    if time.thread_time() - began > 0.2:
        yield "slow"
    if known is not None and [step.text for step in steps] != known:
        yield "layout"
    yield from _of_map(text, steps, "map")
    if "\r" not in text and [_plain(one) for one in split_steps(text.replace("\n", "\r\n"))] != [
        _plain(one.text) for one in steps
    ]:
        yield "line ends"
    if steps and not re.search(r"[<`$~]|\\[\[\]]|\\begin|\\end|\[/?asy", text):
        tagged = "\n".join(f"<step_{at}>\n{step.text}\n</step_{at}>" for at, step in enumerate(steps, start=1))
        if split_steps(tagged) != [step.text for step in steps]:
            yield "again"
    most = draw.choice([2, 3, 5, 64])
    ruled = split_by_rule(text, least=2, most=most)
    if len(ruled) > most:
        yield "rule: too many"
    yield from (
        f"rule: {find}" for find in _of_map(re.sub("</?think>", lambda tag: "\n\n".ljust(len(tag[0])), text), ruled, "map")
    )
    if text.strip(UNSEEN):
        yield from _of_model(draw, text)
    number, rest = strip_heading(text)
    if (number is None) is not (rest == text) and number is None:
        yield "heading"
    if number is not None and not _within(rest, text):
        yield "heading: other text"


def _of_map(text: str, steps: Sequence[Step], name: str) -> Iterator[str]:
    """The faults in the positions of steps in the text."""
    at, gaps = 0, []
    if not steps:  # only headings
        return
    for step in steps:
        if step.start < at or step.end < step.start:
            yield "lost: places overlap"
        gaps.append(text[at : step.start])
        at = step.end
        if not step.text or step.text != step.text.strip(UNSEEN):
            yield "empty"
        if not _within(step.text, text[step.start : step.end]):
            yield f"{name}: {step.text[:40]!r}"
    gaps.append(text[at:])
    written_out = "\n" not in text and "\r" not in text
    for gap in gaps:
        if (re.sub(r"(?:\\r)?\\n|<br ?/?>", "", gap) if written_out else gap).strip(UNSEEN):
            yield f"lost: {gap[:40]!r}"
    if not written_out:
        regions = protected(text)
        if any(begins < step.start < ends for step in steps[1:] for begins, ends in regions):
            yield "cut"


def _of_model(draw: random.Random, text: str) -> Iterator[str]:
    """The faults in a text split by a model's reply, for any reply."""
    cut = pieces(text)
    named = sorted(draw.sample(range(1, len(cut) + 1), min(len(cut), draw.randrange(1, 6)))) if cut else []
    said = draw.choice([", ".join(map(str, named)), f"{len(cut) + 3}", "1, 1", "0", "x", "1; 2"])
    reply = Generation(
        key=Key(example_id="a", request="split"),
        fingerprint="",
        seed=0,
        text=f"So \\boxed{{{said}}}",
        finish_reason="stop",
        model="m",
    )
    steps = read(reply, text, least=1, most=64)
    row = Example(id="a", item=Item(problem="p", steps=(text,)), source="made")
    for found in (steps, split_by_rule(text)):
        if found is None:
            continue
        made = divided(row, found)
        for at, step in enumerate(found, start=1):
            if place_of(made.item, at) != text[step.start : step.end]:
                yield "model: another place"


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _within(part: str, text: str) -> bool:
    """Whether `text` contains the characters of `part` in their order."""
    signs = iter("".join(text.translate(_MOVED).split()).replace("\\n", ""))
    return all(sign in signs for sign in "".join(part.translate(_MOVED).split()).replace("\\n", ""))


if __name__ == "__main__":
    search("steps", inputs, finds)

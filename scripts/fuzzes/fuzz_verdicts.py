r"""Searches for replies whose verdict is guessed, lost, or takes long to read.

scripts/fuzz verdicts --minutes 10

Half of the inputs are built: one step in a form that must be read, or several steps or an answer that must not be read. The other
half are the golden replies and texts of models, cut, spliced and repeated; only properties are checked on them.

- `not read`: a form of one number has another verdict, or none
- `guessed`: several steps, or text without a step, have a verdict; or the verdict's number is not alone in the last box
- `not corrected`: a readable box after the reply is ignored, or an unreadable one does not cancel the verdict
- `restyled`: a styling around the content of the last box changes the verdict
- `before`: prose before the reply changes it
- `marker`: with a marker, the verdict is not from the box after the last one
- `task`: the task reads a verdict other than the one it wrote, or other than the reader's
- `slow`: reading took more than a twentieth of a second
"""

from __future__ import annotations

import random
import re
import time
import unicodedata
from collections.abc import Iterator

from fuzzing import golden, rows_of, search, spliced

from deepcritic.tasks.first_error import FirstError
from deepcritic.text.numerals import ORDINALS, number_in
from deepcritic.text.parsing import last_box, strip_thinking
from deepcritic.text.verdict import read_number

MARKER = "**Answer**:"
NAMES = (
    "{}", "Step {}", "step {}", "STEP {}", "step_{}", "step\\_{}", "<step_{}>", "<step {}>", "Step~{}", "Step\\ {}",
    "Step: {}", "Step \\#{}", "Step #{}", "\\#{}", "No. {}", "第{}步", "步骤{}", "步骤 {}", "paragraph {}", "<paragraph_{}>",
    "Step {}.", "{}.0", "+{}", "index {}", "Step {}: adds wrongly", "Step {} (wrong sign)", "Step {} - an error",
    "Step {} is wrong", "{}: wrong sign", "Step {} of 99", "the first wrong step is {}", "{}.",
)  # fmt: skip
DRESSES = (
    "{}", "({})", "[{}]", "{{{}}}", " {} ", "${}$", "\\({}\\)", "\\text{{{}}}", "\\mathbf{{{}}}", "\\textbf{{{}}}",
    "**{}**", "`{}`", "\\textcolor{{red}}{{{}}}", "\\color{{red}}{{{}}}", "\\,{}\\,", "“{}”", "\u200b{}",
    "\\left({}\\right)", "\\boldsymbol{{{}}}", "\\quad {}", "\n{}\n", "\\underline{{{}}}", "\\mathrm{{{}}}",
    "{{\\bf {}}}",
)  # fmt: skip
BETWEEN = (
    ", ", " and ", " or ", " - ", "-", "/", " to ", "; ", ", Step ", "; Step ", "\n", " & ", "、", " and Step ", "→",
    " vs ",
)  # fmt: skip
NO_STEP = (
    "", "none", "no error", "x", "2 apples", "\\frac{1}{2}", "2.5", "1/2", "3!", "2^3", "x = 2", "\\sqrt{2}", "2\\%",
    "\\$2", "-2x", "all correct", "±1", "\\pm 1", "2 cm", "(1, 2)", "[1, 2]", "1:2", "?", "two or three",
    "Step 2 is correct", "1: correct", "2\\pi", "not 2", "²", "1e0", "2i", "|2|", "2 + 1", "2 \\text{ or } 3", "A",
    "12345678", "Step", "step_", "<step_>", "第步",
)  # fmt: skip
MINUSES = "-‐‑‒–—−﹣－"
SAFE = re.compile(r"[^{}\\$*`\n<>\"'“”~&#_\[\]()]{1,60}")
STYLED = re.compile(
    r"\\(?:(?:text|math)(?:bf|it|rm|tt|sf|up)|boldsymbol|bm|underline|mbox|text|(?:textcolor|colorbox|color)\{[^{}]*\})\s*\{([^{}]*)\}"
)
EXPLAINED = re.compile(r" of |[:：].*=", re.DOTALL)  # step 2 of 5; step 2: 1 + 1 = 3
STEP = re.compile("step|paragraph", re.IGNORECASE)  # StepII
WORDS = re.compile(r"\\[A-Za-z]+|(?i:step|paragraph|index|no)\.?|第|步骤?|步驟")


def built(draw: random.Random, texts: list[str]) -> tuple[str, int | None]:
    """A reply and its verdict, or None if it must have none."""
    number = draw.choice([1, 2, 3, draw.randrange(1, 100), draw.randrange(1, 10**6)])
    kind = draw.randrange(4)
    if kind == 0:
        content, verdict = draw.choice(NAMES).format(number), number
        verdict_or_none: int | None = verdict
    elif kind == 1:
        content, verdict_or_none = draw.choice(MINUSES) + "1", -1
    elif kind == 2:
        other = draw.choice([number + 1, draw.randrange(1, 100)])
        content = f"{draw.choice(['', 'Step ', 'Steps ', '步骤'])}{number}{draw.choice(BETWEEN)}{other}"
        verdict_or_none = None
    else:
        content, verdict_or_none = draw.choice(NO_STEP), None
    if draw.random() < 0.2 and content.isascii() and not re.search(r"[\\{}]", content) and verdict_or_none != -1:
        content = "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in content)
    for _ in range(draw.choice([0, 0, 1, 2])):
        content = draw.choice(DRESSES).format(content)
    before = draw.choice(["", "So it is ", f"{draw.choice(texts)[:300]}\n"])
    before = (strip_thinking(before) or "").rstrip("\\")
    return f"{before}\\boxed{{{content}}}{draw.choice(['', '.', '$', ' I am sure.', '<|im_end|>'])}", verdict_or_none


def inputs(draw: random.Random) -> Iterator[tuple[str, int | str | None]]:
    """Replies with their known verdict, or `"?"`."""
    texts = [case["text"] for case in golden("verdicts")] + [case["text"] for case in golden("parsing")["last_boxed"]]
    for row in rows_of("answer_equivalence", "qwen_math_cot_samples_first50.jsonl.gz"):
        texts += row["pred"]
    texts = [text for text in texts if text]
    while True:
        if draw.random() < 0.5:
            yield built(draw, texts)
            continue
        text = draw.choice(texts)[-1500:] or "x"
        if draw.random() < 0.5:
            text, _ = built(draw, texts)
        for _ in range(draw.choice([1, 1, 2, 3, 5])):
            text = spliced(draw, text, draw.choice([draw.choice(texts), built(draw, texts)[0]]))[-4000:]
        yield text, "?"


def numbers(content: str) -> set[int]:
    """The numbers in a box, each read alone."""
    shown = content.replace("．", ".")
    while (plainer := STYLED.sub(r"\1", shown)) != shown:
        shown = plainer
    shown = re.sub("[\u200b-\u200f\u2060\ufeff\xad]", "", shown)
    shown = "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in shown)
    found = {int(digits) for digits in re.findall(r"\d{1,9}", re.sub(r"(?<=\d)\.0+(?!\d)", "", shown))}
    spoken = re.findall(r"[A-Za-z]+|[零〇一二两兩三四五六七八九十]+|[\u2460-\u2473\u2776-\u277f]", STEP.sub(" ", shown))
    named = {ORDINALS.index(word.lower()) + 1 for word in spoken if word.lower() in ORDINALS}
    return found | named | {number for number in map(number_in, spoken) if number is not None}


def finds(draw: random.Random, tried: tuple[str, int | str | None]) -> Iterator[str]:
    """The faults in the reading of a reply."""
    text, known = tried
    began = time.thread_time()
    verdict = read_number(text)
    if time.thread_time() - began > 0.05:
        yield "slow"
    if known != "?" and verdict != known:
        yield f"{'guessed' if known is None else 'not read'}: {verdict}, not {known}"
    answer = strip_thinking(text)
    box = last_box(answer) if answer is not None else None
    if verdict is not None and (verdict == -1 or verdict >= 1):  # other numbers are no task's verdict
        yield from _doubts(text, answer, box.content if box else None, verdict)
    if answer is not None and not text.endswith("\\"):
        number = draw.randrange(1, 99)
        if read_number(f"{text}\n\\boxed{{{number}}}") != number:
            yield f"not corrected: by {number}"
        if read_number(f"{text}\n\\boxed{{none of them}}") is not None:
            yield "not corrected: by an unreadable box"
        if read_number(f"{text}\n{MARKER} \\boxed{{{number}}}", marker=MARKER) != number:
            yield "marker: the box behind it does not count"
    if MARKER not in text and not re.search(r"Answer[*_\s]*[:：]", text) and read_number(text, marker=MARKER) is not None:
        yield "marker: a verdict without it"
    if box is not None and answer is not None and SAFE.fullmatch(box.content):
        dress = draw.choice(DRESSES)
        styled = answer[: box.start] + f"\\boxed{{{dress.format(box.content)}}}" + answer[box.end :]
        if last_box(styled) is not None and read_number(styled) != verdict and number_in(box.content.strip()) is not None:
            yield f"restyled: {dress}"
        if "think" not in text.lower() and "◁" not in text and read_number("Let me see.\n" + text) != verdict:
            yield "before: prose changes the verdict"
    task = FirstError()
    if task.parse(text) != (verdict if verdict is not None and (verdict == -1 or verdict >= 1) else None):
        yield "task: another verdict than the reader's"
    wanted = draw.choice([-1, draw.randrange(1, 200)])
    marked = FirstError(marker=MARKER)
    if answer is not None and not text.endswith("\\"):
        for one in (task, marked):
            if one.parse(f"{text}\n{one.format(wanted)}") != wanted:
                yield "task: another verdict than it wrote"


def _doubts(text: str, answer: str | None, content: str | None, verdict: int) -> Iterator[str]:
    """Signs that a verdict was guessed."""
    shown = (answer or "") if content is None else content
    if abs(verdict) not in numbers(shown):
        yield f"guessed: {verdict} does not stand there"
    if content is None and len((answer or "").strip()) >= 80:
        yield "guessed: without a box"
    rest = WORDS.sub("", shown)
    if not re.search(r"[^\W\d_]", rest) and len(numbers(shown)) > 1 and "/" not in rest and not EXPLAINED.search(shown):
        yield f"guessed: {verdict} among several"


if __name__ == "__main__":
    search("verdicts", inputs, finds)

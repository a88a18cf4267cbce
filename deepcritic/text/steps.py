r"""Split a solution into steps, with the span of each in the text.

>>> split_steps("Step 1: 1 + 1 = 2.\nStep 2: So it is 2.")
['1 + 1 = 2.', 'So it is 2.']
>>> text = "Here is how:\n1. Add 2 and 3.\n2. Multiply by 4."
>>> [(step.text, text[step.start : step.end]) for step in find_steps(text)][1]
('Multiply by 4.', '2. Multiply by 4.')
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from deepcritic.text.headings import BLANK, Heading, read_heading, without_rules
from deepcritic.text.list_items import BULLET, ITEM, number_of_item, numbering
from deepcritic.text.protected_spans import protected

UNSEEN: Final = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
"""White space, and invisible characters."""
_WRITTEN_OUT: Final = re.compile(
    r"(?<!\\)(?:\\r)?\\n(?:(?![a-z])(?!(?:Right|Left|Leftright)arrow|V)|(?=step\b))|(?<=\\n)\\n|<br ?/?>"
)
_TAG: Final = re.compile(
    r"<(?P<end>/)?(?:step|paragraph)"
    r"(?:[ _-]?(?P<number>\d{1,6})|\s+(?:id|n|no|num|number|index|idx)\s*=\s*[\"']?(?P<id>\d{1,6})[\"']?)?\s*>",
    re.IGNORECASE,
)
_LIST_EDGE: Final = re.compile(r"\\(begin|end)\{(?:enumerate|itemize)\}(?:\[[^\]\n]*\])?")
_TITLE: Final = re.compile(rf"#{{1,6}}{BLANK}+\S|\*\*[^*\n]{{1,100}}\*\*{BLANK}*+:?{BLANK}*+\Z")
_INLINE: Final = re.compile(rf"(?<=[\s.;。；])\**step{BLANK}?[0-9]", re.IGNORECASE)
_PLAIN: Final = Heading(0, True, 0)


class Step(NamedTuple):
    """One step: its text, and the span `[start:end]` of the solution that it covers, including its heading."""

    text: str
    start: int
    end: int


class _Cut(NamedTuple):
    """The start of a step in the text, with its heading."""

    start: int
    heading: Heading


def split_steps(text: str) -> list[str]:
    r"""A solution's steps, by its layout: tags (`<step_1>`), headings ("Step 1:", "**Step 1**", "第一步："), a list (numbers,
    bullets, `\item`), else paragraphs, separated by blank lines.

    - A heading is at the start of a line. The first one has the number 0 or 1, or opens the text (a continuation). Each later one
      must have a higher number than the one before, else it is text ("Step 1:" within a part of Step 3). Headings that could
      begin a sentence ("Step 1 Add ...") count if they open the text and are numbered 1, 2, 3.
    - A list is the layout if it opens the text, or follows one line that ends in a colon. It is numbered 1, 2, 3 (or a, b, c; i,
      ii, iii). Paragraphs after it are steps. If each item is a paragraph, with others in between, all paragraphs are steps.
    - Text before the first heading belongs to the first step. Headings, empty steps, horizontal rules (`---`) and the space
      around steps are removed.
    - Nothing is split within a code fence, `\[ ... \]`, `$$ ... $$` or a TeX environment such as align; an unclosed one protects
      nothing. If a text has no line ends but a written-out "\n" or "<br>", those count as line ends.
    - A single paragraph whose parts each have a title, in bold or after "#", is split into these parts.

    >>> split_steps("Let me see.\n\nStep 1: one\n\nmore of it\n\n**Step 2:** two")
    ['Let me see.\none\n\nmore of it', 'two']
    >>> split_steps("one\n\ntwo\nmore of two")
    ['one', 'two\nmore of two']
    """
    return [step.text for step in find_steps(text)]


def find_steps(text: str) -> list[Step]:
    """The steps of `split_steps` with their spans, which are sorted, disjoint, and cover all visible characters of `text`.

    >>> find_steps("Step 1: a\\nStep 2: b")[1]
    Step(text='b', start=10, end=19)
    """
    shown, places = _line_ends(text)
    cuts, clean = _Layout(shown).cuts()
    ends = [*(cut.start for cut in cuts), len(shown)][1:]
    steps: list[Step] = []
    for (start, heading), end in zip(cuts, ends, strict=True):
        body = without_rules(clean(heading.rest(shown[start:end])).strip(UNSEEN)).strip(UNSEEN)
        whole = shown[start:end].rstrip(UNSEEN)
        steps.append(Step(body, start + len(whole) - len(whole.lstrip(UNSEEN)), start + len(whole)))
    before = shown[: cuts[0].start] if cuts else ""
    if before.strip(UNSEEN):
        begins = len(before) - len(before.lstrip(UNSEEN))
        steps[0] = Step(f"{clean(before).strip(UNSEEN)}\n{steps[0].text}".strip(UNSEEN), begins, steps[0].end)
    return [Step(step.text, places(step.start), places(step.end)) for step in _joined(steps)]


def strip_heading(step: str) -> tuple[int | None, str]:
    """The number in a heading such as "Step 2:", "**Step 2:**" or "### Step 2" at the start, and the rest; None without one.

    >>> strip_heading("**Step 2: Add.** 1 + 1 = 2")
    (2, '**Add.** 1 + 1 = 2')
    >>> strip_heading("Step 2 is wrong.")
    (None, 'Step 2 is wrong.')
    """
    text = step.lstrip()
    heading = read_heading(text.partition("\n")[0])
    return (heading.number, heading.rest(text)) if heading is not None and heading.clear else (None, step)


def _joined(steps: list[Step]) -> list[Step]:
    """The steps without empty ones, whose headings join the step before, or the first step."""
    kept: list[Step] = []
    for step in steps:
        if step.text:
            kept.append(step)
        elif kept:
            kept[-1] = kept[-1]._replace(end=step.end)
    if kept and steps:
        kept[0] = kept[0]._replace(start=steps[0].start)
    return kept


class _Layout:
    """The lines of a text: the kind of each, and where steps may begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.lines = [line.rstrip("\r") for line in text.split("\n")]
        self.blank = [not line.strip(UNSEEN) for line in self.lines]
        self.regions = protected(text)
        self._begins = [start for start, _ in self.regions]
        self.free = [self.is_free(start) for start in self.starts]
        self.paragraphs = [
            at
            for at, (blank, free) in enumerate(zip(self.blank, self.free, strict=True))
            if not blank and (at == 0 or (free and self.blank[at - 1]))
        ]

    def is_free(self, place: int) -> bool:
        """Whether a step may begin here: outside a protected span, or at its start."""
        at = bisect.bisect_left(self._begins, place) - 1
        return at < 0 or self.regions[at][1] <= place

    def cuts(self) -> tuple[list[_Cut], Callable[[str], str]]:
        """The starts of the steps, and a function that removes framing markup from a step's text."""
        if tagged := self._tagged():
            return tagged, functools.partial(_TAG.sub, "")
        headed = self._headed()
        if len(headed) == 1 and (inline := self._inline(headed[0])):
            return inline, str
        if headed:
            return headed, str
        if listed := self._listed():
            return listed, str
        bullets, tex = self._bullets()
        if bullets:
            return bullets, _without_edge if tex else str
        if len(self.paragraphs) == 1 and (titled := self._titled()):
            return titled, str
        return [_Cut(self.starts[at], _PLAIN) for at in self.paragraphs], str

    def _tagged(self) -> list[_Cut]:
        cuts: list[_Cut] = []
        closed, last = 0, -1
        for match in _TAG.finditer(self.text):
            if not self.is_free(match.start()):
                continue
            if match["end"]:
                closed += 1
                continue
            said = match["number"] or match["id"]
            number = int(said) if said else last + 1
            if number <= last or (not cuts and number > 1 and self.text[: match.start()].strip(UNSEEN)):
                return []
            cuts.append(_Cut(match.start(), Heading(number, True, match.end() - match.start())))
            last = number
        return cuts if closed or len(cuts) > 1 else []

    def _headed(self) -> list[_Cut]:
        found = [
            (at, heading)
            for at, line in enumerate(self.lines)
            if self.free[at] and not self.blank[at] and (heading := read_heading(line)) is not None
        ]
        first_text = self._first_text()
        clear: list[_Cut] = []
        last = -1
        for at, heading in found:
            if heading.clear and (heading.number > last if clear else heading.number in (0, 1) or at == first_text):
                clear.append(_Cut(self.starts[at], heading))
                last = heading.number
        if clear or len(found) < 2 or found[0][0] != first_text or found[0][1].number > 1:
            return clear
        count = itertools.count(found[0][1].number)
        numbers = [heading.number for _, heading in found]
        return [_Cut(self.starts[at], one) for at, one in found] if numbers == list(itertools.islice(count, len(found))) else []

    def _inline(self, only: _Cut) -> list[_Cut]:
        """Headings within a line, after the one heading that opens the text: "Step 1: ... Step 2: ..."."""
        cuts = [only]
        if only.heading.number > 1 or self.text[: only.start].strip(UNSEEN):
            return []
        for match in _INLINE.finditer(self.text, only.start + 1):
            line = self.text[match.start() : match.start() + 200].partition("\n")[0]
            heading = read_heading(line)
            if heading is None or heading.number != cuts[-1].heading.number + 1 or not self.is_free(match.start()):
                continue
            if {":", "："} & {*line[: heading.end]}:
                cuts.append(_Cut(match.start(), heading))
        return cuts if len(cuts) > 1 else []

    def _listed(self) -> list[_Cut]:
        """The items of a numbered list that is the text's layout."""
        items: list[tuple[int, Heading]] = []
        style: tuple[str | None, ...] = ()
        for at, line in enumerate(self.lines):
            match = ITEM.match(line) if self.free[at] else None
            if match is None:
                continue
            number = number_of_item(match)
            kind = (match["indent"], match["mark"], numbering(match), match["bold"])
            if not items and number in (0, 1) and self._opens(at):
                style = kind
            if kind == style and (number == items[-1][1].number + 1 if items else number in (0, 1)):
                reopen = match["bold"] if match["bold"] and not match["closed"] else ""
                items.append((at, Heading(number, True, match.end(), reopen, (reopen,) if reopen else ())))
            elif not items:
                return []
        if len(items) < 2:
            return []
        lines = [at for at, _ in items]
        within = [at for at in self.paragraphs if at > lines[0] and at not in lines]
        indented = [at for at in within if self.lines[at][:1].isspace()]
        behind = [at for at in within if at > lines[-1] and at not in indented]
        between = [at for at in within if at < lines[-1] and at not in indented]
        loose = set(lines[1:]) <= {*self.paragraphs}
        if not indented and ((loose and between) or len(behind) >= len(items)):
            return []  # partly numbered paragraphs, or paragraphs after a plan
        cuts = [_Cut(self.starts[at], heading) for at, heading in items]
        return cuts if between else cuts + [_Cut(self.starts[at], _PLAIN) for at in behind]

    def _bullets(self) -> tuple[list[_Cut], bool]:
        """The items of a bulleted list, if the text has no other paragraphs; and whether they are TeX's."""
        found = [(at, match) for at, line in enumerate(self.lines) if self.free[at] and (match := BULLET.match(line))]
        if len(found) < 2 or not self._opens(found[0][0]):
            return [], False
        first = found[0][1]
        tex = first["tex"] is not None
        depth = self._depths() if tex else []
        same = [
            (at, match)
            for at, match in found
            if (tex and match["tex"] and depth[at] == depth[found[0][0]])
            or (not tex and (match["mark"], match["indent"]) == (first["mark"], first["indent"]))
        ]
        lines = {at for at, _ in same}
        others = [at for at in self.paragraphs if at > found[0][0] and at not in lines and not self.lines[at][:1].isspace()]
        if len(same) < 2 or (others and not tex):
            return [], False
        return [_Cut(self.starts[at], Heading(0, True, match.end())) for at, match in same], tex

    def _titled(self) -> list[_Cut]:
        """The parts of one paragraph, each with a title in bold or after "#"."""
        lines = [at for at, line in enumerate(self.lines) if self.free[at] and _TITLE.match(line.lstrip(UNSEEN))]
        opens = len(lines) > 1 and lines[0] == self._first_text()
        return [_Cut(self.starts[at], _PLAIN) for at in lines] if opens else []

    def _depths(self) -> list[int]:
        """The nesting depth of each line in TeX lists."""
        depth, found = 0, []
        for line in self.lines:
            for edge in _LIST_EDGE.finditer(line):
                depth += 1 if edge[1] == "begin" else -1
            found.append(depth)
        return found

    def _first_text(self) -> int:
        return next((at for at, blank in enumerate(self.blank) if not blank), 0)

    def _opens(self, line: int) -> bool:
        """Whether only an introductory paragraph precedes this line."""
        before = [at for at in range(line) if not self.blank[at] and not _LIST_EDGE.fullmatch(self.lines[at].strip(UNSEEN))]
        if not before:
            return True
        leads = self.lines[before[-1]].strip(UNSEEN + "*_")
        return sum(at < line for at in self.paragraphs) <= 1 and (leads.endswith((":", "：")) or leads.startswith("#"))


def _without_edge(text: str) -> str:
    """The text without the command that opens a list after its introduction, or closes it after the last item."""
    edges = [*_LIST_EDGE.finditer(text)]
    depth = sum(1 if edge[1] == "begin" else -1 for edge in edges)
    return text[: edges[-1].start()] if depth and not text[edges[-1].end() :].strip(UNSEEN) else text


def _line_ends(text: str) -> tuple[str, _Places]:
    """The text with real line ends, and the offsets of its characters in `text`, where "\\n" may be written out."""
    if "\n" in text:
        return text, _Places([])
    if "\r" in text:
        return text.replace("\r", "\n"), _Places([])
    shorter: list[tuple[int, int]] = []
    gone = 0
    for match in _WRITTEN_OUT.finditer(text):
        gone += match.end() - match.start() - 1
        shorter.append((match.end() - gone, gone))
    return _WRITTEN_OUT.sub("\n", text), _Places(shorter)


class _Places:
    """Maps offsets in a text with line ends to offsets in the text with written-out ones."""

    def __init__(self, shorter: list[tuple[int, int]]) -> None:
        self._from, self._gone = [place for place, _ in shorter], [gone for _, gone in shorter]

    def __call__(self, place: int) -> int:
        at = bisect.bisect_right(self._from, place)
        return place + (self._gone[at - 1] if at else 0)

r"""Find the answer in a text: its last box, a line "Answer: ...", or the end of prose.

>>> boxed_part(r"First \boxed{3}. Then \boxed{4}? No, \boxed{5}."), boxed_part(r"\boxed{1} and \boxed{2}")
('5', '1, 2')
>>> stated_part("So there are 12 ways. The answer is $\\frac{1}{2}$. I hope it is correct."), stated_part("x^2 + 1")
('$\\frac{1}{2}$', 'x^2 + 1')
"""

from __future__ import annotations

import re
from typing import Final

from deepcritic.answers.spelling import unescaped
from deepcritic.answers.too_big import LIMIT
from deepcritic.answers.units import unit
from deepcritic.text.parsing import Box, last_box

_BEHIND: Final = re.compile(r"[\s$]*(?:\\?%|(?:[Pp]ercent|[Pp]ct|[mb]illion|thousand|dozen)(?![A-Za-z]))")
_LINE: Final = re.compile(
    r"(?:^|[.!?] )[ \t>#*_]*(?:the )?(?:final |correct )?(?:answer|答案|答)[ \t*_]*(?:is|[:：])[ \t*_]*"
    r"(?P<content>\(?[A-J]\)?(?![A-Za-z])[^\n]{0,80}|\$?-?[0-9][^\n]{0,40})$",
    re.I | re.M,
)
_DENIED: Final = re.compile(r"(?:(?<!is )(?<!\w)not|rather than|instead of)[ $*]*\Z", re.I)  # 8, not 9
_JOINED: Final = re.compile(
    r"(?:[\s$,;&.]|\\[()\[\],;: ]|\\q?quad|\\text|[{}]|and|or|或|和|、|，|；|[A-Za-z]_?\{?[0-9]*\}?\s*=)*", re.I
)
_CORRECTED: Final = re.compile(
    r"(?i:\b(?:no|not|wait|actually|correction|should|instead|rather|sorry|oops|mistake|wrong|so|thus|then|final|but|however|right|correct|first))\b|[?!.。]|不"
)
_LISTED: Final = re.compile(r"\b(?:and|or)\b|[,;]")
_APART: Final = 70  # most characters between two boxes of one answer (Math-Verify)
_TOKENS: Final = re.compile(r"<\|im_start\|>(?:user|system)|<\|(?:im_end|endoftext|eot_id|end|eos)\|>|</s>|<\uff5c[^<>]*\uff5c>")
_MORE_THAN_SIGNS: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2}|[\n#<|]|[^\x00-\x7f]")
_WHOLE_IN_BOLD: Final = re.compile(r"(\*{1,3}|__)(?=\S)([^*\n]+)\1")
_WORDED: Final = re.compile(r"\$?\\(?:text|mbox)[a-z]*\{([^{}$\\]*)\}\$?\.?")
_TEXT: Final = re.compile(r"\\(?:text|mbox)[a-z]*\{([^{}$\\]*)\}")
_TAGGED: Final = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.I)
_HASHES: Final = re.compile(r"^####[ \t]*(.+)$", re.M)
_MARKER: Final = re.compile(
    r"""(?:\b(?:final|correct|right|required|desired)?[ ]?(?:answer|result)(?:[ ](?:to|for|of)[ ][^.\n$]{0,80}?)?[*_]*
        (?:[ ]?(?:is|was|=|would[ ]be|should[ ]be|will[ ]be|must[ ]be|equals|[:：])[ ]?)+[*_:]*
      | (?:答案|结果)[ ]?(?:是|为|应为|等于|[:：=])[ ]?|(?:故|应)?选(?:择)?[:：]?|答[:：]|\bfinal[ ]answer[*_#]*\s*\n)""",
    re.I | re.VERBOSE,
)
_BUT: Final = re.compile(r"^not [^.]{1,40}?,? but ", re.I)
_REASON: Final = re.compile(r",? (?:because|since|due to)\b|，?因为")
_CALLED: Final = re.compile(
    r"(?<![A-Za-z0-9\\])\(?([A-J])\)? (?:is|was) (?:the )?"
    r"(?:(?:only )?(?:correct|right)|(?:best|true) (?:answer|choice|option))(?![A-Za-z])"
)
_PICKED: Final = re.compile(r"(?i:choose|pick|select)(?: option| choice| answer)? \(?([A-J])\)?[.!]*\Z")
_CHOSEN: Final = re.compile(r"(?:选项|选择|选)(?:是|为)?[:：]?[ *]*[(（]?([A-J])(?![A-Za-z])")
_SENTENCE: Final = re.compile(r"\.(?=\s|$)(?!\s*(?:m\.|[0-9]))|[。！\n]|\s*<")
_FORMULA: Final = re.compile(
    r"\$\$(.+?)\$\$|(?<![\\$])\$(?!\s*\$)((?:\\\$|[^$])+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL
)
_LEAD: Final = re.compile(
    r"(?:(?:so|thus|hence|therefore|then|finally|and|now|that is|(?:we|i) (?:get|have|find|obtain|see|conclude)(?: that)?"
    r"|it follows that|this (?:gives|means)(?: that)?"
    r"|所以|因此|故|解得|综上(?:所述)?|由此可得|可得|从而|于是)(?![A-Za-z])[ ,:，：]*)+",
    re.I,
)
_SUBJECT: Final = re.compile(r"(?:[A-Za-z']{2,} )+[$€£¥]?[0-9]")  # Tom needs 7
_LINK: Final = re.compile(r"(?:\s|,|;|and\b|or\b|、|或|和)*")
_NUMBER: Final = re.compile(
    r"""(?<![A-Za-z0-9_.,/\\])[-−]?[$€£¥]?
    (?:[0-9]+(?:\ ?:\ ?[0-9]+)+(?:\ ?(?i:[ap])\.?(?i:m)\b\.?)?
      |[0-9]+\ [0-9]+/[0-9]+
      |[0-9](?:[0-9,]*[0-9])?(?:\.[0-9]+)?(?:/[0-9]+)?|\.[0-9]+)
    (?:\s?(?:%|\\%|percent))?(?![A-Za-z0-9_])""",
    re.VERBOSE,
)
_VERBS: Final = re.compile(
    r"(?<![\\A-Za-z0-9])(?:is|are|was|were|be|equals?|giv(?:es?|ing)|mak(?:es?|ing)|leav(?:es?|ing)|yields?|becomes?|has|have|had|get|gets|got|find|found|obtain|we|answer"
    r"|therefore|thus|hence|so|then|since|because|conclude|there|it|he|she|they|needs?|costs?|pays?|paid|earns?|earned|spends?|spent"
    r"|sells?|sold|buys?|bought|takes?|took|uses?|used|saves?|saved|owes?|weighs?|travels?|traveled|receives?|received)(?![A-Za-z0-9_])|[是为]|所以|因此|答",
    re.I,
)
_INTRODUCED: Final = re.compile(r"[A-Za-z][A-Za-z ,'-]* [A-Za-z ,'-]*:\s*\$")
_WORD: Final = re.compile(r"(?<![\\A-Za-z0-9_^{}])(?!(?:and|or)(?![A-Za-z]))[A-Za-z]{2,}(?![A-Za-z0-9_^(])")
_MANY: Final = 5  # least words of a message that has a number or formula, but no known verb
_GENERAL: Final = re.compile(r"\b(?:all|any|every|each|except|unless|not|no|other)\b", re.I)
_WORDS_BEHIND: Final = re.compile(r" ?[A-Za-z](?:(?! and | or )[A-Za-z '-])*")
_CONDITION: Final = re.compile(
    r",? (?:(?:which is |and (?:it )?(?:is )?)?(?:attained|achieved|reached|obtained|occurring) )?"
    r"(?:at|when|where|for|if|with|as|by) "
)
_PLAIN_CONDITION: Final = re.compile(
    r",? (?:(?:attained|achieved|reached|obtained|occurring) )?(?:at|when|where|for|if|with) [A-Za-z] ?=.*\Z"
)
_SO: Final = re.compile(r",? (?:so|thus|therefore|hence|making|giving|which (?:gives|makes|means)|(?:for|or) a total of) ")
_COMPLEMENT: Final = re.compile(
    r"(?<![\\A-Za-z])(?:is|are|was|were|be|equals?|gives?|yields?|has|have|get|gets|pays?|costs?|needs?|makes?|earns?)(?![A-Za-z])"
    r"(?: (?:equal to|approximately|about|exactly|given by))?:?|[是为]",
    re.I,
)


def boxed_part(text: str) -> str | None:
    r"""The content of the last box of `text`; None without a box, empty if all boxes are empty or unclosed.

    Boxes joined by "and", "or" or commas are one answer. A line after the box that names a choice or a number as the answer
    replaces it.
    """
    if "oxed" not in text and "\\fbox" not in text:
        return None
    text = text.replace("\\fbox{", "\\boxed{")
    last = last_box(text)
    while last is not None and not unescaped(last.content).strip():
        last = last_box(text[: last.start])
    if last is not None and _DENIED.search(text, max(0, last.start - 24), last.start):  # \boxed{8}, not \boxed{9}
        last = last_box(text[: last.start]) or last
    if last is None:
        return "" if re.search(r"oxed\s*\{", text) else None
    lines = list(_LINE.finditer(text, last.end))
    if lines:
        return lines[-1]["content"].strip().rstrip("*_")
    contents, first = [unescaped(last.content).strip()], last
    while (before := _joined(text, first)) is not None:
        first = before
        contents.append(unescaped(before.content).strip())
    behind = _BEHIND.match(text, last.end)
    if len(contents) == 1 and behind:
        contents[0] += " " + behind[0].strip(" $\n")
    return ", ".join(dict.fromkeys(reversed(contents)))


def _joined(text: str, box: Box) -> Box | None:
    """The box before `box`, if both are one answer."""
    start = max(0, box.start - _APART - LIMIT)
    before = last_box(text[start : box.start])
    if before is None or not unescaped(before.content).strip():
        return None
    before = before._replace(start=before.start + start, end=before.end + start)
    between = text[before.end : box.start]
    if len(between) > _APART or "\n\n" in between:
        return None
    if _JOINED.fullmatch(between) and "\n" not in between and "." not in between:
        return before
    return before if _LISTED.search(between) and not _CORRECTED.search(between) else None


def end_of(text: str) -> str:
    """The last lines or sentences of a long text; the whole text if it has none, as it is then not prose."""
    if len(text) <= LIMIT:
        return text.strip()
    start = len(text) - LIMIT
    cuts = [cut for cut in (text.find("\n", start), text.find(". ", start)) if cut >= 0]
    return text[min(cuts) + 1 :].strip() if cuts else text


def is_prose(text: str) -> bool:
    """Whether `text` is a message rather than an answer."""
    if "\n" in text.strip() and "\\begin" not in text:
        return True
    words = _FORMULA.sub("$", text)
    if _VERBS.search(words) or _INTRODUCED.match(words):
        return True
    before, formula, _ = words.partition("$")
    if formula and len(_WORD.findall(before)) > 1 and not _GENERAL.search(words):
        return True
    return len(_WORD.findall(words)) >= _MANY and _says_something(text) and not _GENERAL.search(words)


def stated_part(text: str) -> str:
    """The answer stated in prose: the text after "the answer is", else the last formula or number. A bare answer is unchanged."""
    text = text.strip()
    if not _MORE_THAN_SIGNS.search(text):
        return text
    bold = _WHOLE_IN_BOLD.fullmatch(text)
    text = bold[2] if bold else text
    worded = _WORDED.fullmatch(text)
    text = worded[1].strip() if worded else text
    tagged = _TAGGED.findall(text)
    if tagged:
        return str(tagged[-1]).strip()
    text = _TOKENS.split(text)[0].strip() or text
    hashes = _HASHES.findall(text)
    if hashes:
        return str(hashes[-1]).strip()
    if text.endswith("!") and is_prose(text):
        text = text.rstrip("!")
    if "\\text" in text and _MARKER.search(text):
        text = _TEXT.sub(r"\1", text)
    called = _CALLED.findall(text)
    if called:
        return str(called[-1])
    picked = _PICKED.search(text)
    if picked:
        return picked[1]
    chosen = _CHOSEN.findall(text) if not text.isascii() else []
    if chosen:
        return str(chosen[-1])
    markers = [found for found in _MARKER.finditer(text) if text[found.end() :].strip(" \n*_.:")]
    if markers:
        part = _in_sentence(text[markers[-1].end() :].strip(" \n*_:"))
        part = _BUT.sub("", part.rstrip("*_") if part.count("**") % 2 else part)
        given = _REASON.split(part, maxsplit=1)[0]
        part = part if is_prose(given) else given
        return (_numbers(part) or _last(part)) if is_prose(part) else part
    lead = _LEAD.match(text)
    if lead and not is_prose(text[lead.end() :]):
        rest = text[lead.end() :]
        return _last(rest) if _SUBJECT.match(rest) else rest
    if not is_prose(text):
        return text
    text = _TEXT.sub(r"\1", text)
    lines = [line for line in text.split("\n") if line.strip(" *_-#>")]
    return _last(lines[-1] if len(lines) > 1 and _says_something(lines[-1]) else text)


def _says_something(line: str) -> bool:
    return bool(_FORMULA.search(line) or _NUMBER.search(line))


def _in_sentence(text: str) -> str:
    """The answer at the start of `text`, up to the end of its sentence or formula."""
    formula = _FORMULA.match(text)
    if formula:
        return _run(text, formula)
    return _SENTENCE.split(text, maxsplit=1)[0].strip() or text


def _run(text: str, formula: re.Match[str]) -> str:
    """A formula and those joined to it."""
    end = formula.end()
    while True:
        link = _LINK.match(text, end)
        following = _FORMULA.match(text, link.end()) if link and link[0] else None
        if following is None:
            break
        end = following.end()
    behind = _BEHIND.match(text, end)
    return text[formula.start() : behind.end() if behind else end]


def _last(text: str) -> str:
    """The formula or number at the end of `text`."""
    runs: list[tuple[int, str]] = []
    at = 0
    while formula := _FORMULA.search(text, at):
        run = _run(text, formula)
        at = formula.start() + len(run)
        if not runs or not _CONDITION.match(text, runs[-1][0]):  # the maximum is 5 at x = 2
            runs.append((at, run))
    last = runs[-1] if runs else (0, "")
    said = "" if runs and _CONDITION.match(text, last[0]) else text[last[0] :].strip(" .。\n")
    rest = _SENTENCE.split(said)[-1]
    if condition := _PLAIN_CONDITION.search(rest):  # the maximum is 5 when x = 2
        rest = rest[: condition.start()] if _NUMBER.search(rest, 0, condition.start()) else rest
    rest = next((part for part in reversed(_SO.split(rest)) if _NUMBER.search(part)), rest)
    whole = _COMPLEMENT.split(rest)[-1].strip()
    if whole != rest.strip() and _NUMBER.search(whole) and not _WORD.search(whole):  # the range is [0, 1]
        return whole
    complement = whole.rpartition("=")[2].strip()
    numbers = list(_NUMBER.finditer(rest))
    if numbers:
        return _numbers(complement) or _numbers(rest[numbers[-1].start() :]) or numbers[-1][0]
    return last[1] or complement or text


def _numbers(text: str) -> str:
    """The number at the start of `text`, its unit, and the numbers joined to it."""
    end = 0
    while found := _NUMBER.match(text, end):
        behind = _WORDS_BEHIND.match(text, found.end())
        with_unit = behind is not None and unit(behind[0]) is not None
        stop = behind.end() if behind and with_unit else found.end()
        link = _LINK.match(text, stop)
        if not link or not link[0].strip() or not _NUMBER.match(text, link.end()):
            return text[:stop]
        end = link.end()
    return ""

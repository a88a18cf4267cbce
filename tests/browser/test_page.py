"""The report in a real browser: it loads from a disk, filters, moves by keys, and nothing in its texts runs or reaches out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.__main__ import main
from deepcritic.report import page as report_page

CONTRAST = (Path(__file__).parent / "contrast.js").read_text("utf-8")
HOSTILE = (
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 1</script>",
    "<img src=x onerror=\"window.ran = 1\">",
    "<a href=\"javascript:window.ran=1\">here</a> javascript:window.ran=1",
    "$\\href{javascript:window.ran=1}{x}$ $\\url{javascript:window.ran=1}$ $\\htmlData{x=1}{y}$",
    "$\\includegraphics{http://127.0.0.1:9/x.png}$",
    "$\\def\\a{\\a\\a}\\a$ $\\rule{99999em}{99999em}$ $" + "{" * 900 + "$",
    "<svg onload=\"window.ran=1\"><style>@import 'http://127.0.0.1:9/x.css'</style>",
    "<iframe srcdoc=\"<script>top.ran=1</script>\"></iframe><base href=\"http://127.0.0.1:9/\">",
    "<meta http-equiv=refresh content=\"0;url=http://127.0.0.1:9\">",
    "x" * 100_000,
    "\u202egnorw si siht\u202c \u200b\u200f\u2066 \x1b[31mred\x1b[0m \x1b]8;;http://127.0.0.1:9\x07link\x07 \u2028 \x00",
    "[here](javascript:window.ran=1) ![x](http://127.0.0.1:9/x.png) **<b onclick=window.ran=1>bold</b>**\n"
    "| `<img src=x onerror=window.ran=1>` | b |\n|---|---|\n| \ue0000\ue001 | $\\href{javascript:window.ran=1}{x}$ |",
    "".join("> " * depth + "- " * depth + "**_`" * depth + "\n" for depth in range(60)),
    "]]> --> {{ 7 * 7 }} ${window.ran=1} `${window.ran=1}` \\u003cscript\\u003e <!--<script>",
)  # fmt: skip
MARKED = """### Check
Step 1 is **fine**, as `2**3` and *x* say, but 2 * 3 * 4 and snake_case_name are as they are.

1. first
2. second
   - inner with $x_1$

> quoted

| step | result |
|---|---|
| 1 | right |

```python
print("**not bold**")
```
"""


def example(name: str, problem: str, steps: list[str], first_error: int, kind: str | None = None) -> dict[str, Any]:
    gold = {"first_error": first_error, "error_kind": kind}
    return {"id": name, "item": {"problem": problem, "steps": steps}, "gold": gold, "source": "made", "license": "MIT"}


def made_run(root: Path, run: str, rows: list[dict[str, Any]], replies: dict[str, list[str]], name: str = "first") -> None:
    """A run with one evaluation of recorded replies."""
    (root / f"{run}-rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    lines = [
        {"example_id": key, "sample": sample, "text": text} for key, texts in replies.items() for sample, text in enumerate(texts)
    ]
    (root / f"{run}-{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    words = [
        "stage=evaluate",
        "benchmark=examples",
        f"benchmark.path='{root}/{run}-rows.jsonl'",
        f"runs='{root}'",
        f"run='{run}'",
    ]
    assert main([*words, f"name={name}", f"stage.generations='{root}/{run}-{name}.jsonl'"]) == 0


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with two evaluations of the same sixty solutions, and of another run beside it."""
    root = tmp_path_factory.mktemp("plain")
    rows, first, second = [], {}, {}
    for at in range(60):
        gold = -1 if at % 3 == 0 else 1 + at % 2
        problem = f"What is $x^{at}$ if $x = \\frac{{1}}{{2}}$? It costs $5 and then $6."
        rows.append(
            example(
                f"row-{at}",
                problem,
                ["We have \\(x = 1/2\\).", f"So it is \\[2^{{-{at}}}\\] needle{at}"],
                gold,
                ["slip", "carried"][at % 2],
            )
        )
        first[f"row-{at}"] = [f"{MARKED}\nThe box: \\boxed{{{gold}}}"] * 3 + ["\\boxed{2}" if at % 5 else "haystack"]
        second[f"row-{at}"] = [f"\\boxed{{{gold if at % 4 else 2}}}"]
    made_run(root, "mine", rows, first)
    made_run(root, "mine", rows, second, "second")
    made_run(root, "theirs", rows, second, "third")
    assert main(["stage=report", f"runs='{root}'", "run=mine", f"stage.compare_with='{root}/theirs'"]) == 0
    return root / "mine" / "report" / "index.html"


@pytest.fixture(scope="module", params=["inside", "beside"])
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run in which every text is an attack, its texts inside the page or in files beside it."""
    root = tmp_path_factory.mktemp("hostile")
    rows = [example(f"{at} {text[:60]}", text, [text, "fine"], 1, text[:90]) for at, text in enumerate(HOSTILE)]
    rows += [example("plain", "1 + 1", ["2"], -1)]
    replies = {row["id"]: [f"{row['item']['problem']} \\boxed{{1}}", row["item"]["problem"]] for row in rows}
    run = "<img src=x onerror=window.ran=1> \u202e"
    made_run(root, run, rows, replies)
    limit = pytest.MonkeyPatch()
    if request.param == "beside":
        limit.setattr(report_page, "INSIDE", 0)
    assert main(["stage=report", f"runs='{root}'", f"run='{run}'"]) == 0
    limit.undo()
    assert (root / run / "report" / "data").is_dir() == (request.param == "beside")
    return root / run / "report" / "index.html"


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose only verdicts are those of a filter, on rows without labels."""
    root = tmp_path_factory.mktemp("filtered")
    rows = [{"id": f"row-{at}", "question": f"{at} + 1?", "solution": [f"It is {at + 1}.", "So it is."]} for at in range(9)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    texts = {at: ["\\boxed{-1}", "\\boxed{-1}", "\\boxed{2}"] if at % 3 else ["needle \\boxed{2}"] * 3 for at in range(8)}
    lines = [
        {"example_id": f"row-{at}", "sample": sample, "text": text}
        for at, several in texts.items() for sample, text in enumerate([*several] if at != 7 else ["hm"] * 3)
    ]  # fmt: skip
    (root / "replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    words = [f"stage.examples='{root}/rows.jsonl'", "stage.columns={problem: question, steps: solution}"]
    assert main(["stage=filter", *words, f"stage.generations='{root}/replies.jsonl'", f"runs='{root}'", "run=mine"]) == 0
    assert main(["stage=report", f"runs='{root}'", "run=mine"]) == 0
    return root / "mine" / "report" / "index.html"


def until(page: Any, expression: str, arg: Any = None) -> None:
    """Wait until an expression of JavaScript is true, asked from here: Playwright's own waiting calls `eval` within the page,
    which the page's policy forbids as soon as the first try was too early."""
    deadline = time.monotonic() + 60
    while not page.evaluate(expression, arg):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


def wait_for_row(page: Any, name: str) -> None:
    until(page, "name => document.querySelector('#row h2')?.textContent === name", arg=name)


def found(page: Any) -> str:
    return str(page.locator("#found").text_content())


def test_it_loads_and_shows_each_view(plain: Path, visit: Callable[..., Any]) -> None:
    page, requests, trouble = visit(plain)
    assert page.locator("#overview h1, #overview table").first.is_visible()
    assert "F1, first" in str(page.locator(".cards").text_content())
    for key, view in (("2", "figures"), ("3", "critiques"), ("1", "overview")):
        page.keyboard.press(key)
        assert page.locator(f"#{view}").is_visible()
        assert page.locator("main > section:visible").count() == 1
    page.keyboard.press("2")
    assert page.locator("figure svg").count() >= 6
    boxes = [page.locator("figure svg").nth(at).bounding_box() for at in range(page.locator("figure svg").count())]
    assert all(box["width"] > 200 and box["height"] > 60 for box in boxes)
    assert requests == [plain.as_uri()]
    assert trouble == []
    assert page.evaluate("window.policyBroken") == []


def test_mathematics_is_typeset_and_prices_are_not(plain: Path, visit: Callable[..., Any]) -> None:
    page, _, trouble = visit(plain, "#critiques?row=row-4")
    wait_for_row(page, "row-4")
    assert page.locator(".problem .katex").count() == 2
    assert "It costs $5 and then $6." in page.locator(".problem").text_content()
    assert page.locator(".steps .katex-display").count() == 1
    fonts = "Array.from(document.fonts).filter(one => one.family.includes('KaTeX') && one.status === 'loaded').length"
    until(page, f"{fonts} > 0")
    assert trouble == []
    assert page.evaluate("window.policyBroken") == []


def test_markdown_of_critiques_is_set_and_can_be_seen_as_it_was_written(plain: Path, visit: Callable[..., Any]) -> None:
    page, _, trouble = visit(plain, "#critiques?row=row-1")
    wait_for_row(page, "row-1")
    until(page, "document.querySelectorAll('#row details[open] .prose.set').length === 1")
    reply = page.locator("#row details[open] .prose")
    assert [reply.locator(one).all_inner_texts() for one in (".head", "strong", "em", "p code")] == [
        ["Check"],
        ["fine"],
        ["x"],
        ["2**3"],
    ]
    assert reply.locator("ol > li").count() == 2
    assert reply.locator("ol ul li .katex").count() == 1
    assert reply.locator("blockquote").inner_text() == "quoted"
    assert reply.locator("tbody td").all_inner_texts() == ["1", "right"]
    assert reply.locator("pre").inner_text() == 'print("**not bold**")'
    assert "2 * 3 * 4 and snake_case_name are" in reply.inner_text()
    page.keyboard.press("m")
    until(page, "document.querySelectorAll('#row details[open] .prose:not(.set)').length === 1")
    assert "### Check\nStep 1 is **fine**" in page.locator("#row details[open] .prose").inner_text()
    assert trouble == []


def test_filters_search_and_links(plain: Path, visit: Callable[..., Any]) -> None:
    page, _, _ = visit(plain, "#critiques")
    wait_for_row(page, "row-0")
    assert found(page) == "60 rows"
    page.get_by_label("kind of error").select_option("slip")
    until(page, "document.getElementById('found').textContent === '30 of 60 rows'")
    page.get_by_label("first error").select_option("-1")
    until(page, "document.getElementById('found').textContent === '10 of 60 rows'")
    page.keyboard.press("x")
    until(page, "document.getElementById('found').textContent === '60 rows'")
    page.keyboard.press("/")
    page.keyboard.type("needle17")
    wait_for_row(page, "row-17")
    assert found(page) == "1 of 60 rows"
    page.get_by_label("search").fill("haystack")
    until(page, "document.getElementById('found').textContent === '0 of 60 rows'")
    page.get_by_label("also in critiques").check()
    until(page, "document.getElementById('found').textContent === '12 of 60 rows'")
    link = page.locator("#permalink").get_attribute("href")
    again, _, _ = visit(plain, link)
    wait_for_row(again, page.locator("#row h2").text_content())
    until(again, "document.getElementById('found').textContent === '12 of 60 rows'")


def test_keys_move_and_a_row_says_everything(plain: Path, visit: Callable[..., Any]) -> None:
    page, _, trouble = visit(plain, "#critiques")
    wait_for_row(page, "row-0")
    for key, name in (("j", "row-1"), ("j", "row-2"), ("k", "row-1"), ("k", "row-0"), ("k", "row-0")):
        page.keyboard.press(key)
        wait_for_row(page, name)
    page.locator("#rows").focus()
    page.keyboard.press("ArrowDown")
    wait_for_row(page, "row-1")
    text = page.locator("#row").inner_text()
    for piece in (
        "step 2 is the first wrong one",
        "truth: the first wrong step",
        "named by the critic ×4",
        "100% of 4 votes",
        "Source: made, licence: MIT",
    ):
        assert piece in text
    assert page.locator("#row details").count() == 4
    assert page.locator("#row details[open]").count() == 1
    page.keyboard.press("o")
    until(page, "document.querySelectorAll('#row details[open] .prose').length === 4")
    assert "Step 1 is fine, as 2**3" in page.locator("#row details").nth(2).inner_text()
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    assert trouble == []


def test_two_critics_and_two_runs_side_by_side(plain: Path, visit: Callable[..., Any]) -> None:
    page, _, trouble = visit(plain, "#critiques?e=mine/evaluate.first&b=theirs/evaluate.third&pair=left")
    until(page, "document.querySelectorAll('#row .sides.two > div').length === 2")
    chosen = [at for at in range(60) if at % 4 == 0 and (-1 if at % 3 == 0 else 1 + at % 2) != 2]
    assert found(page) == f"{len(chosen)} of 60 rows"
    wait_for_row(page, f"row-{chosen[0]}")
    assert "theirs: third" in page.locator("#row").inner_text()
    assert trouble == []


def test_a_difference_leads_to_the_rows_behind_it(plain: Path, visit: Callable[..., Any]) -> None:
    page, _, trouble = visit(plain)
    page.get_by_text("rows that only the first gets right").first.click()
    until(page, "document.querySelector('#row .sides.two')")
    chosen = [at for at in range(60) if at % 4 == 0 and (-1 if at % 3 == 0 else 1 + at % 2) != 2]
    assert found(page) == f"{len(chosen)} of 60 rows"
    assert "right" in page.locator("#row .says").inner_text()
    assert trouble == []


def test_the_verdicts_of_a_filter_can_be_browsed(filtered: Path, visit: Callable[..., Any]) -> None:
    page, _, trouble = visit(filtered, "#critiques?row=row-3")
    wait_for_row(page, "row-3")
    shown = page.locator("#row").inner_text()
    for piece in ("3 + 1?", "It is 4.", "unknown", "dropped", "100% of 3 votes", "named by the critic ×3"):
        assert piece in shown, piece
    assert page.locator("#row .steps .fine, #row .steps .after, #row .steps .wrong").count() == 0, "nobody knows which is wrong"
    assert page.get_by_label("outcome").locator("option").all_inner_texts() == [
        "any", "no verdict (1)", "no reply (1)", "kept (4)", "dropped (3)",
    ]  # fmt: skip
    page.get_by_label("outcome").select_option("kept")
    until(page, "document.getElementById('found').textContent === '4 of 9 rows'")
    assert "kept · vote all correct" in page.locator("#rows").inner_text()
    page.get_by_label("search").fill("needle")
    page.get_by_label("also in critiques").check()
    until(page, "document.getElementById('found').textContent === '0 of 9 rows'")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("x")
    until(page, "document.getElementById('found').textContent === '9 rows'")
    assert trouble == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read_in_both_themes(plain: Path, visit: Callable[..., Any], theme: str) -> None:
    page, _, _ = visit(plain, "#critiques?row=row-1", theme=theme)
    wait_for_row(page, "row-1")
    low = page.evaluate(CONTRAST)
    assert low == []
    page.keyboard.press("2")
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("view", ["overview", "figures", "critiques"])
def test_a_narrow_screen_needs_no_scrolling_sideways(plain: Path, visit: Callable[..., Any], view: str) -> None:
    page, _, _ = visit(plain, f"#{view}", width=360)
    if view == "critiques":
        wait_for_row(page, "row-0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("view", ["overview", "figures", "critiques"])
def test_what_scrolls_can_be_reached_by_keys_and_names_hold_what_is_seen(
    plain: Path, visit: Callable[..., Any], view: str, width: int
) -> None:
    page, _, _ = visit(plain, f"#{view}", width=width)
    if view == "critiques":
        wait_for_row(page, "row-0")
    unreachable = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter((one) => {
          const scrolls = (way, more) => more > 1 && ['auto', 'scroll'].includes(getComputedStyle(one)[`overflow${way}`]);
          return one.checkVisibility() && one.tabIndex < 0 && !one.querySelector('a, button, input, select, summary, [tabindex]')
            && (scrolls('Y', one.scrollHeight - one.clientHeight) || scrolls('X', one.scrollWidth - one.clientWidth));
        }).map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert unreachable == []
    assert page.locator(".entry[aria-label]").count() == 0


def test_no_warning_and_no_source_of_a_figure_is_cut_off(plain: Path, visit: Callable[..., Any]) -> None:
    for width in (360, 768, 1360, 1440):
        page, _, _ = visit(plain, width=width)
        hidden = page.evaluate("(one => one.scrollHeight - one.clientHeight)(document.querySelector('.warnings'))")
        assert hidden <= 1, width
        if width > 1000:
            wide = page.evaluate("[...document.querySelectorAll('.scroll')].map((one) => one.scrollWidth - one.clientWidth)")
            assert max(wide) <= 0, width
    assert "Which is better, and is that sure?" in page.locator("#overview").inner_text()
    assert "first − second" in page.locator("#overview").inner_text()
    assert page.title() == "first and second on examples · deepcritic"


def test_it_prints_overview_and_figures(plain: Path, visit: Callable[..., Any]) -> None:
    page, _, _ = visit(plain)
    page.emulate_media(media="print")
    assert page.locator("#overview").is_visible()
    assert page.locator("#figures").is_visible()
    assert not page.locator("nav").is_visible()


def test_hostile_texts_are_shown_and_nothing_else(hostile: Path, visit: Callable[..., Any]) -> None:
    page, requests, trouble = visit(hostile, "#critiques")
    page.wait_for_selector("#row .steps")
    for at, text in enumerate([*HOSTILE, "1 + 1"]):
        until(page, "at => document.querySelector('.entry[aria-selected=true]')?.id === `entry-${at}`", arg=at)
        seen = "document.querySelector('#row h2')?.textContent"
        until(page, f"{seen} === document.querySelector('.entry[aria-selected=true] .id').textContent")
        page.keyboard.press("o")
        shown = page.locator(".problem").text_content()
        plain_text = re.sub(r"[^\x20-\x7e\n]", "", text)
        if len(text) < 1000:
            seen_text = re.sub(r"U\+[0-9A-F]{4,6}|[\ue000\ue001]", "", shown)
            # Formulas are typeset; all text around them is shown as it is.
            assert all(part in seen_text for part in re.split(r"\$[^$]*\$", plain_text))
            assert seen_text == plain_text or "$" in text
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200c-\u200f\x00-\x08\x0b-\x1f]", page.locator("#row").inner_text())
        page.keyboard.press("j")
    page.keyboard.press("/")
    page.keyboard.type("<script>")
    until(page, "document.getElementById('found').textContent.includes(' of ')")
    for view in ("1", "2", "3"):
        page.locator("#search").blur() if page.locator("#search").is_visible() else None
        page.keyboard.press(view)
    assert page.evaluate("window.ran") is None
    assert page.evaluate("window.policyBroken") == []
    assert trouble == []
    folder = hostile.parent.as_uri()
    assert requests[0] == hostile.as_uri()
    assert all(request.startswith(f"{folder}/data/") for request in requests[1:]), "nothing but our own files from the disk"
    assert page.url.startswith(hostile.as_uri())
    assert page.locator("main img, main iframe, main script, main base, main object").count() == 0
    assert page.evaluate('document.querySelectorAll(\'main a[href]:not([href^="#"]):not([href^="data:text/csv"])\').length') == 0


def test_javascript_links_of_formulas_stay_text(hostile: Path, visit: Callable[..., Any]) -> None:
    page, _, _ = visit(hostile, "#critiques?row=" + HOSTILE[4][:0])
    page.wait_for_selector("#row .steps")
    for _ in range(4):
        page.keyboard.press("j")
    until(page, "document.querySelector('.entry[aria-selected=true]')?.id === 'entry-4'")
    until(page, "document.querySelector('.problem').textContent.includes('href{javascript:window.ran=1}')")

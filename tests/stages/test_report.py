"""The report: the figures that were agreed on, in one page that is safe and needs no network."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deepcritic.metrics.f1 import harmonic_f1
from deepcritic.report.draw import Plot
from deepcritic.report.page import render
from deepcritic.report.warnings import Severity
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import ALL_CORRECT, Example
from deepcritic.stages import refine
from deepcritic.tasks.first_error import FirstError
from tests.stages.conftest import call

pytest.importorskip("matplotlib", reason="needs the drawing libraries: pip install deepcritic[report]")
Command = Callable[..., Any]
CRITIC_KEYS = {"f1", "f1_interval", "error_accuracy", "correct_accuracy"}


def _finish(stage: str, open_folder: Any, *, rows: int = 0, labelled: Sequence[Example] = (), **facts: Any) -> None:
    with open_folder(stage) as folder:
        folder.begin()
        if labelled:
            write_rows(folder.path / "labelled.jsonl", labelled)
        ledger = folder.ledger("solutions")
        ledger.enter(rows)
        ledger.keep(rows)
        folder.finish(**facts)


@pytest.fixture
def run(command: Command, tmp_path: Path, make_solutions: Any, open_folder: Any, fake_sampler: Any) -> list[Example]:
    """A run folder as the demo leaves it, made from recorded replies: base finds few errors, sft half, rl most."""
    rows: list[Example] = make_solutions(40)
    write_rows(tmp_path / "examples.jsonl", rows)

    def evaluate(name: str, replies: dict[str, list[int]]) -> None:
        lines = [
            json.dumps({"example_id": key, "sample": sample, "text": f"\\boxed{{{verdict}}}"})
            for key, verdicts in replies.items()
            for sample, verdict in enumerate(verdicts)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        words = ["stage=evaluate", "benchmark=examples", "benchmark.path=examples.jsonl", f"name={name}", "run=mine"]
        outcome = command(*words, f"stage.generations={name}.jsonl")
        assert outcome.code == 0, outcome.err

    def right(row: Example, of_ten: int) -> int:
        gold = row.gold.first_error
        assert isinstance(gold, int)
        return gold if int(row.id[1:]) // 2 % 10 < of_ten else 9

    evaluate("base", {row.id: [right(row, 2)] for row in rows})
    evaluate("sft", {row.id: [right(row, 5)] for row in rows})
    evaluate("rl", {row.id: [right(row, 8)] for row in rows})
    evaluate("rl_longer", {row.id: [right(row, 7)] for row in rows})
    votes = {row.id: [right(row, 8)] * 5 + [9] * 3 for row in rows}
    evaluate("votes", votes)

    (tmp_path / "runs/mine/prepare.truth").mkdir()
    write_rows(tmp_path / "runs/mine/prepare.truth/examples.jsonl", rows)
    _finish("label", open_folder, rows=40, labelled=rows[:30])
    with open_folder("seed") as folder:
        folder.begin()
        folder.ledger("solutions")
        funnel = [{"rule": "read", "dropped": 0, "left": 9}, {"rule": "no rated step", "dropped": 2, "left": 7}]
        folder.finish(teacher_accuracy={"initial": {"asked": 7, "accuracy": 0.75}}, funnel=funnel)
    both = fake_sampler(lambda request, sample: "\\boxed{1}" if request.keys[0].request == "critique" else "Step 1: \\boxed{7}")
    with open_folder("refine") as folder:
        call(
            refine, folder, solutions=str(tmp_path / "examples.jsonl"), task=FirstError(), sampler=both,
            model="deepcritic://microworld/models/base", generator="deepcritic://microworld/models/generator",
        )  # fmt: skip
    return rows


def _report(command: Command, name: str = "mine", seed: int = 7) -> tuple[dict[str, Any], str, str]:
    outcome = command("stage=report", f"run={name}", f"seed={seed}")
    assert outcome.code == 0, outcome.err
    folder = Path("runs") / name
    return (
        json.loads((folder / "summary.json").read_text("utf-8")),
        (folder / "report/index.html").read_text("utf-8"),
        outcome.out,
    )


def test_the_summary_has_the_figures_that_were_agreed_on(command: Command, run: list[Example]) -> None:
    summary, _, shown = _report(command)
    for critic, share in (("base", 20), ("sft", 50), ("rl", 80)):
        assert summary[critic].keys() >= CRITIC_KEYS
        assert summary[critic]["error_accuracy"] == pytest.approx(share)
        assert summary[critic]["correct_accuracy"] == pytest.approx(share)
        assert summary[critic]["f1"] == pytest.approx(100 * harmonic_f1(share / 100, share / 100))
        low, high = summary[critic]["f1_interval"]
        assert low <= summary[critic]["f1"] <= high
    assert summary["rl_gain"] == pytest.approx(30)
    low, high = summary["rl_gain_interval"]
    assert 0 < low < 30 < high
    assert summary["sft_gain"] == pytest.approx(30)
    assert summary["rl"]["single_t_f1"] == pytest.approx(50), "five of eight samples are right in eight of ten rows"
    assert summary["rl"]["maj8_f1"] == pytest.approx(80)
    assert summary["rl"]["votes"] == 8
    assert summary["rl"]["longer_f1"] == pytest.approx(70)
    assert summary["rl"]["maj_gain_interval"][0] > 0
    assert 0 < summary["constant_baseline_f1"] < 100
    assert summary["labels"]["exact"] == 100
    assert summary["labels"]["discarded"] == 25
    assert summary["refine"].keys() >= {"before", "after", "wrong_to_right", "right_to_wrong"}
    assert summary["seed"] == 7
    stages = {"evaluate.base", "evaluate.sft", "evaluate.rl", "label", "refine", "seed"}
    assert summary["seconds"].keys() >= {"total", *stages}
    assert summary["seconds"]["total"] == pytest.approx(sum(v for k, v in summary["seconds"].items() if k != "total"), abs=0.1)
    for piece in (
        "F1 in percent, with 95% intervals",
        "after RL",
        "Gains",
        "Seconds",
        "runs/mine/summary.json",
        "runs/mine/report/index.html",
    ):
        assert piece in shown


def test_labels_are_compared_with_the_truth(command: Command, run: list[Example]) -> None:
    wrong = [row for row in run[:30] if row.gold.first_error != ALL_CORRECT]
    changed = {row.id for row in wrong[:6]}
    labelled = [
        msgspec.structs.replace(row, gold=msgspec.structs.replace(row.gold, first_error=ALL_CORRECT))
        if row.id in changed
        else row
        for row in run[:30]
    ]
    write_rows(Path("runs/mine/label/labelled.jsonl"), labelled)
    labels = _report(command)[0]["labels"]
    assert labels["exact"] == pytest.approx(100 * 24 / 30)
    assert labels["labelled"] == 30
    assert labels["exact_by_kind"]["all correct"] == 100


class _Links(html.parser.HTMLParser):
    """Everything in a page that a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.run: list[str] = []
        self.styles: list[str] = []
        self._in = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self._in = tag if tag == "style" or (tag == "script" and "type" not in given) else ""
        for name in {"src", "href", "xlink:href", "action", "data", "poster", "srcset"} & given.keys():
            if not (given[name] or "").startswith("#"):
                self.fetched.append(str(given[name]))
        assert not {name for name in given if name.startswith("on") or name == "style"}, f"{tag} {given}"

    def handle_data(self, data: str) -> None:
        if self._in:
            (self.run if self._in == "script" else self.styles).append(data)
            self._in = ""


def _links(page: str) -> _Links:
    parser = _Links()
    parser.feed(page)
    return parser


def _sha(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_page_fetches_nothing_and_runs_nothing_else(command: Command, run: list[Example]) -> None:
    _, page, _ = _report(command)
    links = _links(page)
    assert links.fetched
    assert all(link.startswith("data:text/csv;charset=utf-8;base64,") for link in links.fetched), "only data to be kept"
    assert not {"iframe", "link", "object", "embed", "img", "base"} & set(links.tags)
    assert not re.search(r"url\(\s*['\"]?(?!#|data:)", page)
    assert "@import" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    allowed = html.unescape(policy[1])
    assert allowed.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in allowed
    assert "http" not in allowed
    assert len(links.run) == 2, "KaTeX and our own"
    assert all(f"'sha256-{_sha(text)}'" in allowed for text in [*links.run, *links.styles])
    assert links.tags.count("svg") == links.tags.count("figcaption") > 5
    assert 'lang="en"' in page
    shown = ("80.0", "best baseline", "wrong to right / right to wrong", "From solutions to seed critiques", "no rated step")
    for text in shown:
        assert text in page


@pytest.mark.parametrize("name", ["<script>alert(1)<", "a&b \"c\" 'd'", "<img src=x onerror=x>", "{{ 7 * 7 }} {% if %}"])
def test_a_hostile_name_of_a_run_stays_text(name: str) -> None:
    tables = [
        {
            "title": name,
            "head": [name],
            "rows": [[name], [(name, name)], [(name, name, f"#{name}")]],
            "notes": [name, (name, name)],
        }
    ]
    plot = Plot(name="x", title=name, text=name, svg="<svg></svg>", head=(name,), rows=[[name]])
    warnings = [(level, [(name, [name])] * 4) for level in Severity]
    texts: dict[str, Any] = {"facts": [name], "leads": [name], "explained": [name], "cards": [(name, name, name)]}
    page = render(title=f"Run {name}", tables=tables, plots=[plot], warnings=warnings, **texts)
    links = _links(page)
    assert len(links.run) == 1, "our own script"
    assert "img" not in links.tags
    assert "<svg></svg>" in page, "our own drawing goes in as it is"
    assert "49" not in re.sub(r"<(style|script)\b.*?</\1>|Content-Security-Policy.*|data:text/csv[^\"]*", "", page, flags=re.S)
    if "<" in name:
        assert name not in page


def test_a_hostile_name_on_the_command_line(command: Command) -> None:
    name = "<b>&amp;"
    rows = ["stage=prepare", "source=microworld_problems", "source.count=3", f"run='{name}'"]
    outcome = command(*rows)
    assert outcome.code == 0, outcome.err
    outcome = command("stage=report", f"run='{name}'")
    assert outcome.code == 0, outcome.err
    page = (Path("runs") / name / "report/index.html").read_text("utf-8")
    assert f"Run {name}" not in page
    assert "Run &lt;b&gt;&amp;amp;" in page


def test_a_run_of_one_stage_has_a_report_too(command: Command) -> None:
    assert command("stage=prepare", "source=microworld_problems", "source.count=3", "run=mine").code == 0
    summary, page, _ = _report(command)
    assert set(summary) == {"seconds", "tokens", "seed"}
    assert "prepare" in page
    assert 'id="critiques"' not in page


def test_evaluations_of_other_rows_have_no_gain(command: Command, make_solutions: Any) -> None:
    """The names are those of one comparison, the rows are not: two that share some, two that share none, one without votes."""
    rows = make_solutions(24)
    for name, some in (("base", rows[:16]), ("sft", rows[8:]), ("rl", rows[:8]), ("votes", rows[:4])):
        write_rows(Path(f"{name}-rows.jsonl"), some)
        lines = [json.dumps({"example_id": row.id, "sample": 0, "text": f"\\boxed{{{row.gold.first_error}}}"}) for row in some]
        Path(f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        words = ("benchmark=examples", f"benchmark.path={name}-rows.jsonl", f"stage.generations={name}.jsonl", f"name={name}")
        assert command("stage=evaluate", "run=mine", *words).code == 0
    summary = _report(command)[0]
    assert summary["sft_gain"] == 0, "over the eight that both have"
    assert "rl_gain" not in summary
    assert "maj_gain" not in summary["rl"]


def test_nothing_to_report_on(command: Command) -> None:
    outcome = command("stage=report", "run=nothing")
    assert outcome.code == 1
    assert "run: no finished stage to report on" in outcome.err
    assert not Path("runs/nothing/summary.json").exists()


def test_the_same_run_gives_the_same_page_and_it_is_drawn_anew(command: Command, run: list[Example]) -> None:
    first = _report(command)
    assert _report(command) == first
    assert _report(command, seed=8)[0]["seed"] == 8

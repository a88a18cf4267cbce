"""Evaluation as a user runs it: figures known by calculation, and bad input that ends in one clear line."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from deepcritic.datasets import examples as own
from deepcritic.datasets import mr_ben, mr_gsm8k, processbench
from deepcritic.evaluation.load import read_judged
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import ALL_CORRECT, Example, Generation, Gold, Item, Judged, encode

SOURCES = {"processbench": processbench, "mr_gsm8k": mr_gsm8k, "mr_ben": mr_ben, "examples": own}
REAL = {
    "processbench-gsm8k": ("processbench", "processbench/gsm8k.json", 400, 207),
    "processbench-math": ("processbench", "processbench/math.json.gz", 1000, 594),
    "mr_gsm8k": ("mr_gsm8k", "mr_gsm8k/processed_test_first_half.json", 709, 373),
    "mr_ben": ("mr_ben", "mr_ben/math_part_a.json.gz", 459, 390),
}


class Outcome(Protocol):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def _gold(benchmark: str, path: Path) -> dict[str, Any]:
    return {row.id: row.gold.first_error for row in SOURCES[benchmark].read(path)}


def _record(path: Path, verdicts: Mapping[str, int | None], **more: Any) -> Path:
    lines = [
        json.dumps({"example_id": name, "sample": 0, "text": "unsure" if verdict is None else f"\\boxed{{{verdict}}}", **more})
        for name, verdict in verdicts.items()
    ]
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return path


def _words(benchmark: str, path: Path, recording: Path | None, run: str = "mine", *more: str) -> list[str]:
    words = ["stage=evaluate", f"benchmark={benchmark}", f"benchmark.path={path}", f"run={run}", *more]
    return [*words, f"stage.generations={recording}"] if recording else words


def _metrics(run: str) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(Path("runs", run, "evaluate", "metrics.json").read_text("utf-8"))
    return metrics


def _score(command: Command, benchmark: str, path: Path, verdicts: Mapping[str, int | None], run: str) -> dict[str, Any]:
    outcome = command(*_words(benchmark, path, _record(Path(f"{run}.jsonl"), verdicts), run))
    assert outcome.err == ""
    assert outcome.code == 0
    assert "F1" in outcome.out
    metrics = _metrics(run)
    assert metrics["examples"] == len(verdicts)
    return metrics


def _check_known_figures(command: Command, benchmark: str, path: Path, wrong: int) -> None:
    gold = _gold(benchmark, path)
    assert sum(label != ALL_CORRECT for label in gold.values()) == wrong

    oracle = _score(command, benchmark, path, dict(gold), "oracle")
    assert (oracle["error_accuracy"], oracle["correct_accuracy"], oracle["f1"]) == (100, 100, 100)
    assert oracle["unparsed_rate"] == 0
    assert oracle["f1_interval"] == [100, 100]

    never = _score(command, benchmark, path, dict.fromkeys(gold, ALL_CORRECT), "never")
    assert (never["error_accuracy"], never["correct_accuracy"], never["f1"]) == (0, 100, 0)

    from_zero = {name: label if label == ALL_CORRECT else label - 1 for name, label in gold.items()}
    shifted = _score(command, benchmark, path, from_zero, "shifted")
    assert (shifted["error_accuracy"], shifted["correct_accuracy"], shifted["f1"]) == (0, 100, 0)
    unread = sum(label == 1 for label in gold.values())
    assert shifted["unparsed_rate"] == pytest.approx(100 * unread / len(gold), abs=1e-3)

    first = _score(command, benchmark, path, dict.fromkeys(gold, 1), "first")
    share = 100 * sum(label == 1 for label in gold.values()) / wrong
    assert (first["error_accuracy"], first["correct_accuracy"]) == (pytest.approx(share, abs=1e-3), 0)

    labels = {name: 0 if label == ALL_CORRECT else label for name, label in gold.items()}  # label + 1 of the file, on every row
    counted = _score(command, benchmark, path, labels, "counted")
    assert (counted["error_accuracy"], counted["correct_accuracy"], counted["f1"]) == (100, 0, 0)

    mute = _score(command, benchmark, path, dict.fromkeys(gold), "mute")
    assert (mute["error_accuracy"], mute["correct_accuracy"], mute["f1"], mute["unparsed_rate"]) == (0, 0, 0, 100)


@pytest.mark.parametrize("benchmark", ["processbench", "mr_gsm8k", "mr_ben"])
def test_known_figures_on_the_samples(command: Command, samples_dir: Path, benchmark: str) -> None:
    path = samples_dir / f"{benchmark}.json"
    wrong = sum(label != ALL_CORRECT for label in _gold(benchmark, path).values())
    _check_known_figures(command, benchmark, path, wrong)


@pytest.mark.parametrize("name", REAL)
def test_known_figures_on_the_real_files(command: Command, datasets_dir: Path, name: str) -> None:
    benchmark, file, rows, wrong = REAL[name]
    assert len(_gold(benchmark, datasets_dir / file)) == rows
    _check_known_figures(command, benchmark, datasets_dir / file, wrong)


def test_the_official_figures_of_degenerate_critics(command: Command, datasets_dir: Path) -> None:
    """ProcessBench math, steps counted from 1: 115 of the 594 solutions with an error go wrong in their first step."""
    path = datasets_dir / "processbench/math.json.gz"
    always = _score(command, "processbench", path, dict.fromkeys(_gold("processbench", path), 1), "always")
    assert round(always["error_accuracy"], 2) == 19.36
    low, high = always["error_accuracy_interval"]
    assert 16 < low < 19.36 < high < 23


@pytest.fixture
def sample(samples_dir: Path) -> Path:
    return samples_dir / "processbench.json"


def test_a_compressed_copy_gives_the_same_figures(command: Command, sample: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.json.gz"
    with gzip.open(packed, "wb") as file:
        file.write(sample.read_bytes())
    gold = _gold("processbench", sample)
    assert _score(command, "processbench", packed, dict(gold), "packed")["f1"] == 100


def test_what_a_run_leaves_behind(command: Command, sample: Path) -> None:
    gold = _gold("processbench", sample)
    verdicts: dict[str, int | None] = {**gold, "sample-1": None, "sample-0": 2}
    metrics = _score(command, "processbench", sample, verdicts, "mine")
    folder = Path("runs/mine/evaluate")
    assert {file.name for file in folder.iterdir()} >= {
        "config.json", "manifest.json", "metrics.json", "verdicts.jsonl", "generations.jsonl",
    }  # fmt: skip
    judged = {row.id: row for row in read_judged(folder)}
    assert list(judged) == list(gold)
    assert judged["sample-1"].verdicts == (None,)
    assert judged["sample-1"].correct == 0
    assert judged["sample-0"].verdicts == (2,)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["counts"]["examples"] == {"in": 6, "out": 6, "failed": {}, "filtered": {}}
    wrong = [name for name, label in gold.items() if label != ALL_CORRECT]
    right = len(gold) - len(wrong)
    assert metrics["error_accuracy"] == pytest.approx(100 * (len(wrong) - 1) / len(wrong), abs=1e-3)
    assert metrics["correct_accuracy"] == pytest.approx(100 * (right - 1) / right, abs=1e-3)
    assert metrics["unparsed_rate"] == pytest.approx(100 / 6, abs=1e-3)
    low, high = metrics["f1_interval"]
    assert low <= metrics["f1"] <= high


def test_several_samples_vote(command: Command, sample: Path, tmp_path: Path) -> None:
    gold = _gold("processbench", sample)
    rows = [
        {"example_id": name, "sample": number, "text": f"\\boxed{{{label if number else 99}}}"}
        for name, label in gold.items()
        for number in range(3)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert command(*_words("processbench", sample, path)).code == 0
    metrics = _metrics("mine")
    assert metrics["samples"] == 3
    assert metrics["f1"] == pytest.approx(100 * 2 / 3, abs=1e-3)
    assert metrics["maj_f1"] == 100


def test_truncated_replies_are_on_the_first_line(command: Command, sample: Path, tmp_path: Path) -> None:
    gold = _gold("processbench", sample)
    recording = _record(tmp_path / "rows.jsonl", dict(gold), finish_reason="length")
    outcome = command(*_words("processbench", sample, recording))
    assert "6 examples, truncated 100.0%" in outcome.out
    assert _metrics("mine")["truncated"] == 6


def test_withheld_replies_are_neither_right_nor_wrong(command: Command, sample: Path, tmp_path: Path) -> None:
    gold = _gold("processbench", sample)
    recording = _record(tmp_path / "rows.jsonl", dict(gold))
    lines = [json.loads(line) for line in recording.read_text("utf-8").splitlines()]
    lines[0] |= {"text": "", "finish_reason": "content_filter"}
    recording.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    outcome = command(*_words("processbench", sample, recording))
    assert outcome.code == 0, outcome.err
    assert "6 examples, truncated 0.0%, refused 1\n" in outcome.out
    metrics = _metrics("mine")
    assert metrics["replies"] == {"samples": 6, "truncated": 0, "unparsed": 0, "refused": 1, "failed": 0}
    assert metrics["f1"] == metrics["f1_bounds"][1] == 100
    assert metrics["f1_bounds"][0] < 100


def test_a_finished_evaluation_is_shown_again_and_not_done_again(command: Command, sample: Path, tmp_path: Path) -> None:
    words = _words("processbench", sample, _record(tmp_path / "rows.jsonl", dict(_gold("processbench", sample))))
    first, second = command(*words), command(*words)
    assert "nothing to do" in second.out
    assert first.out.splitlines()[-2:] == second.out.splitlines()[-2:]


def test_a_limit_takes_rows_of_recording_and_benchmark(command: Command, sample: Path, tmp_path: Path) -> None:
    recording = _record(tmp_path / "rows.jsonl", dict(_gold("processbench", sample)))
    assert command(*_words("processbench", sample, recording, "mine", "stage.limit=4")).code == 0
    assert _metrics("mine")["examples"] == 4


def test_results_stand_beside_published_ones(command: Command, samples_dir: Path, tmp_path: Path) -> None:
    rows = json.loads((samples_dir / "processbench.json").read_text("utf-8"))
    for at, row in enumerate(rows):
        row["id"] = f"math-{at}"
    Path("math.json").write_text(json.dumps(rows), "utf-8")
    recording = _record(tmp_path / "rows.jsonl", dict(_gold("processbench", Path("math.json"))))
    outcome = command(*_words("processbench", Path("math.json"), recording))
    assert outcome.code == 0, outcome.err
    text = Path("runs/mine/evaluate/table.md").read_text("utf-8")
    assert "| R-PRM-7B-DPO | 76.9 |" in text
    assert "ProcessBench MATH: 6 rows here, 1,000 in published results: not comparable." in text
    assert "unconfirmed" not in outcome.out, "the figures beside these rows were all read in their sources"
    assert "constant baseline" in outcome.out
    assert Path("runs/mine/evaluate/table.csv").is_file()
    assert any(
        line["critic"].startswith("recorded#") for line in json.loads(Path("runs/mine/evaluate/table.json").read_text("utf-8"))
    )


def test_results_go_into_a_model_card_when_asked_and_only_then(command: Command, sample: Path, tmp_path: Path) -> None:
    words = _words("processbench", sample, _record(tmp_path / "rows.jsonl", dict(_gold("processbench", sample))))
    model = tmp_path / "model"
    model.mkdir()
    assert command(*words).code == 0
    assert not list(model.iterdir())
    outcome = command(*words, f"push={model}")  # the evaluation is finished: its results are put there now
    assert outcome.code == 0, outcome.err
    assert f"results added to {model / 'README.md'}" in outcome.out
    assert "model-index:" in (model / "README.md").read_text("utf-8")
    _refused(command(*words, "push=no such place"), "push: neither a folder nor a hub id; found 'no such place'")


def test_a_push_that_cannot_be_is_refused_before_anything_is_drawn(
    command: Command, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    words = _words("processbench", sample, _record(tmp_path / "rows.jsonl", dict(_gold("processbench", sample))))
    _refused(command(*words, "push=org/name"), "push: no token for the hub", "set HF_TOKEN in the environment")
    assert not Path("runs/mine/evaluate/generations.jsonl").exists()


# Bad input: one line with the place, what was found and what was expected; nothing lost; no traceback


def _refused(outcome: Outcome, *said: str, code: int = 1) -> None:
    assert outcome.code == code, outcome
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err + outcome.out
    for piece in said:
        assert piece in outcome.err


def _row(**changes: Any) -> dict[str, Any]:
    row = {"id": "x-0", "problem": "p", "steps": ["a", "b"], "label": 1, "generator": "g", "final_answer_correct": False}
    return {name: value for name, value in {**row, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [_row(), _row(id="x-1", label=...)],
            (":2: label: the field is missing; found", "; expected a whole number"),
        ),
        ([_row(problem=...)], (":1: problem: the field is missing",)),
        ([_row(steps=...)], (":1: steps: the field is missing",)),
        (
            [_row(), _row(id="x-1", label=2)],
            (":2: label: the label is outside the steps; found 2; expected 0 to 1, or -1",),
        ),
        ([_row(label=-2)], (":1: label: the label is outside the steps; found -2",)),
        ([_row(label="1")], (":1: label: wrong type; found '1'; expected a whole number",)),
        ([_row(steps=[])], (":1: steps: the solution has no steps; found []; expected at least one step",)),
        ([_row(steps=["a", 3])], (":1: steps[1]: wrong type; found 3",)),
        ([_row(), _row()], (":2: id: duplicate id; found 'x-0'; expected an id different from that of line 1",)),
        ([3], (":1: a row must be an object; found 3",)),
    ],
)
def test_bad_rows_of_a_benchmark(command: Command, tmp_path: Path, rows: list[Any], said: tuple[str, ...]) -> None:
    for file, text in (
        ("bad.jsonl", "".join(json.dumps(row) + "\n" for row in rows)),
        ("bad.json", "[" + ",\n".join(json.dumps(row) for row in rows) + "]"),
    ):
        Path(file).write_text(text, "utf-8")
        _refused(command(*_words("processbench", tmp_path / file, _record(Path("r.jsonl"), {"x-0": 2}))), file, *said)
        assert not Path("runs/mine/evaluate/manifest.json").exists()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("bad.json", b"[{]", ("bad.json:1: not JSON",)),
        ("bad.json", b'[{"id": "a", "problem": "p", "steps": ["s"], "label": 0}\n', ("bad.json:2: not JSON",)),
        ("bad.json", b"", ("bad.json:1: not JSON",)),
        ("bad.jsonl", b'{"id": "x"\n', ("bad.jsonl:1: not JSON in UTF-8",)),
        ("bad.json", b'["\xff"]', ("bad.json: the file cannot be read", "expected a whole file in UTF-8")),
        ("bad.json.gz", b"no gzip", ("bad.json.gz:1: not JSON",)),
        ("bad.json", b"[]", ("benchmark.path: the benchmark has no rows",)),
        ("bad.txt", b"", ("bad.txt: unknown kind of file", "a file ending in .json")),
    ],
)
def test_benchmark_files_that_cannot_be_read(
    command: Command, tmp_path: Path, file: str, content: bytes, said: tuple[str, ...]
) -> None:
    Path(file).write_bytes(content)
    _refused(command(*_words("processbench", tmp_path / file, _record(Path("r.jsonl"), {"x-0": 2}))), *said)


def test_a_benchmark_file_that_is_not_there_offers_the_nearest(command: Command, sample: Path, tmp_path: Path) -> None:
    shutil.copy(sample, "math.json")
    outcome = command(*_words("processbench", tmp_path / "maths.json", _record(Path("r.jsonl"), {"x-0": 2})))
    _refused(outcome, "maths.json: no such file", f"expected {tmp_path / 'math.json'}")


def test_rows_of_ones_own_without_a_label(command: Command, tmp_path: Path) -> None:
    rows = [
        Example(id="a", item=Item(problem="p", steps=("s",)), gold=Gold(first_error=1), source="made"),
        Example(id="b", item=Item(problem="p", steps=("s",)), source="made"),
    ]
    Path("own.jsonl").write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    outcome = command(*_words("examples", tmp_path / "own.jsonl", _record(Path("r.jsonl"), {"a": 1, "b": 1})))
    _refused(outcome, "gold.first_error", "'b'", "unlabelled")
    assert not Path("runs/mine/evaluate/generations.jsonl").exists()


def test_a_reply_to_an_unknown_example(command: Command, sample: Path, tmp_path: Path) -> None:
    gold = _gold("processbench", sample)
    recording = _record(tmp_path / "rows.jsonl", {**gold, "sampel-3": 1})
    outcome = command(*_words("processbench", sample, recording))
    _refused(outcome, f"{recording}:7: example_id:", "found 'sampel-3'", "such as 'sample-3'")
    _record(recording, dict(gold))  # mended, the same run goes through
    assert command(*_words("processbench", sample, recording)).code == 0


def test_rows_without_a_reply(command: Command, sample: Path, tmp_path: Path) -> None:
    gold = _gold("processbench", sample)
    some: dict[str, int | None] = {name: label for name, label in gold.items() if name not in {"sample-1", "sample-4"}}
    recording = _record(tmp_path / "rows.jsonl", some)
    outcome = command(*_words("processbench", sample, recording))
    _refused(outcome, "rows.jsonl: example_id: 2 of 6 examples have no reply; found 'sample-1'", "stage.allow_missing=true")
    allowed = command(*_words("processbench", sample, recording, "mine", "stage.allow_missing=true"))
    assert allowed.code == 0
    assert "without a reply 2 (counted as wrong)" in allowed.out
    metrics = _metrics("mine")
    assert metrics["missing"] == 2
    assert metrics["examples"] == 6
    assert metrics["f1"] < 100
    rows: dict[str, Judged] = {row.id: row for row in read_judged(Path("runs/mine/evaluate"))}
    assert rows["sample-1"].correct == 0.0


def test_a_recording_that_is_not_there_or_is_damaged(command: Command, sample: Path, tmp_path: Path) -> None:
    _refused(command(*_words("processbench", sample, tmp_path / "none.jsonl")), "generations: no such file", "none.jsonl")
    recording = tmp_path / "rows.jsonl"
    recording.write_text('{"example_id": "sample-0", "sample": 0}\n', "utf-8")
    _refused(command(*_words("processbench", sample, recording)), "rows.jsonl:1: ", "missing required field `text`")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model=/there/is/no/model", "model: no such model folder; found '/there/is/no/model'"),
        ("model=nowhere", "model: no such model folder; found 'nowhere'"),
        ("model=no-such/model", "model: no such folder, and the hub is disabled"),
        ("model=deepcritic://nothing", "model: no such model folder; found 'deepcritic://nothing'"),
        ("model=.", "model: the folder has no model; found '.'"),
        ("model=null", "model: nothing to evaluate; expected model=PATH, or stage.generations=ROWS.jsonl"),
    ],
)
def test_a_model_that_is_not_there(command: Command, sample: Path, word: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _refused(command(*_words("processbench", sample, None, "mine", word)), said)


@pytest.mark.parametrize(
    ("word", "said", "code"),
    [
        ("stage.temperature=-1", "temperature: out of range; found -1", 1),
        ("stage.top_p=0", "top_p: out of range; found 0", 1),
        ("stage.max_tokens=0", "max_tokens: out of range; found 0", 1),
        ("stage.limit=0", "stage.limit: out of range; found 0; expected a whole number from 1", 1),
        ("stage.samples=0", "stage.samples: out of range; found 0", 1),
        ("stage.samples=two", "stage.samples: wrong type; found 'two'; expected a whole number", 2),
        ("stage.allow_missing=1", "stage.allow_missing: wrong type; found 1; expected true or false", 2),
        ("stage.generations=7", "stage.generations: wrong type; found 7", 2),
        ("task.template=none.md", "none.md: the template cannot be read", 1),
    ],
)
def test_values_that_make_no_sense(
    command: Command, sample: Path, tmp_path: Path, tiny_model: Path, word: str, said: str, code: int
) -> None:
    recording = _record(tmp_path / "rows.jsonl", dict(_gold("processbench", sample)))
    drawn = word.startswith(("stage.temperature", "stage.top_p", "stage.max_tokens", "stage.samples"))
    given = (
        _words("processbench", sample, None, "mine", f"model={tiny_model}")
        if drawn
        else _words("processbench", sample, recording)
    )
    words = [one for one in given if not one.startswith(word.partition("=")[0])]
    _refused(command(*words, word), said, code=code)


def test_a_run_begun_with_other_settings_is_refused(command: Command, sample: Path, tmp_path: Path) -> None:
    gold = _gold("processbench", sample)
    recording = _record(tmp_path / "rows.jsonl", dict(gold))
    assert command(*_words("processbench", sample, recording)).code == 0
    before = Path("runs/mine/evaluate/metrics.json").read_bytes()
    words = _words("processbench", sample, recording, "mine", "stage.limit=4")
    _refused(command(*words), "content of benchmark", "overwrite=true")
    _record(recording, dict.fromkeys(gold, 1))
    _refused(command(*_words("processbench", sample, recording)), "content of model")
    assert Path("runs/mine/evaluate/metrics.json").read_bytes() == before
    assert command(*words, "overwrite=true").code == 0


# Killed

Killed = Callable[[list[str], int], int | None]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_twenty_moments_it_ends_as_if_it_never_was(
    killed: Killed, contents: Callable[[Path], dict[str, Any]], sample: Path, tmp_path: Path
) -> None:
    """The first and the last moments are among them: the lock, the configuration, the rows, the figures, the manifest."""
    recording = _record(tmp_path / "rows.jsonl", dict(_gold("processbench", sample)))
    moments = killed(_words("processbench", sample, recording, "quiet"), 10**9)
    assert moments is not None
    moments -= 2  # the quiet run, the first one, also made the folders above
    assert moments > 20
    expected = contents(tmp_path / "runs/quiet/evaluate")
    for moment in {*random.Random(3).sample(range(moments), 18), 0, moments - 1}:
        words = _words("processbench", sample, recording, f"k{moment}")
        assert killed(words, moment) is None
        assert not (tmp_path / f"runs/k{moment}/evaluate/manifest.json").exists() or moment > moments - 4
        assert killed(words, 10**9) is not None
        assert contents(tmp_path / f"runs/k{moment}/evaluate") == expected


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_again_and_again_it_ends_too(
    killed: Killed, contents: Callable[[Path], dict[str, Any]], sample: Path, tmp_path: Path
) -> None:
    recording = _record(tmp_path / "rows.jsonl", dict(_gold("processbench", sample)))
    assert killed(_words("processbench", sample, recording, "quiet"), 10**9)
    words, chance = _words("processbench", sample, recording, "mine"), random.Random(4)
    kills = sum(killed(words, chance.randrange(14)) is None for _ in range(8))
    assert kills >= 4
    killed(words, 10**9)
    assert contents(tmp_path / "runs/mine/evaluate") == contents(tmp_path / "runs/quiet/evaluate")


# With a model


def test_a_model_is_sampled_and_scored(command: Command, sample: Path, tiny_model: Path) -> None:
    words = _words("processbench", sample, None, "mine", f"model={tiny_model}", "stage.samples=2", "stage.max_tokens=6")
    outcome = command(*words, "sampler.device=cpu", "sampler.batch_size=3")
    assert outcome.code == 0, outcome.err
    metrics = _metrics("mine")
    assert metrics["generations"] == 12
    assert metrics["unparsed_rate"] == 100
    assert metrics["failed"] == 0
    again = command(*words, "name=again", "sampler.device=cpu", "sampler.batch_size=12")
    assert again.code == 0
    one, other = (Path("runs/mine", stage, "generations.jsonl").read_bytes() for stage in ("evaluate", "evaluate.again"))
    assert one == other


def test_by_default_a_reply_may_fill_the_context(command: Command, sample: Path, tiny_model: Path) -> None:
    words = _words("processbench", sample, None, "mine", f"model={tiny_model}", "stage.limit=2", "sampler.device=cpu")
    foreseen = command(*words, "dry_run=true")
    found = re.findall(r"([\d,]+) (?:prompt|completion) tokens", foreseen.out)
    assert sum(int(part.replace(",", "")) for part in found) == 2 * 2048
    assert command(*words).code == 0
    rows = list(read_rows(Path("runs/mine/evaluate/generations.jsonl"), Generation))
    assert len(rows) == 2
    assert all(row.finish_reason == "stop" or row.prompt_tokens + row.completion_tokens == 2048 for row in rows)


def test_where_every_row_failed_the_error_says_why(command: Command, sample: Path, tiny_model: Path) -> None:
    words = _words("processbench", sample, None, "mine", f"model={tiny_model}", "sampler.device=cpu")
    outcome = command(*words, "stage.max_tokens=32768", "sampler.strict_length=true")
    assert outcome.code == 1
    last = outcome.err.splitlines()[-1]
    assert "no row has a reply" in last
    assert "6 replies failed (too_long: 6), such as sample-0" in last
    assert "prompt tokens and max_tokens 32768 exceed 2048; use a model" in last
    assert "a smaller stage.max_tokens" in last


def test_what_does_not_fit_into_the_model_is_counted_as_failed_not_as_wrong(
    command: Command, sample: Path, tiny_model: Path
) -> None:
    rows = json.loads(sample.read_text("utf-8"))
    rows[0]["steps"][0] = "long " * 3000
    Path("long.json").write_text(json.dumps(rows), "utf-8")
    words = _words("processbench", Path("long.json"), None, "mine", f"model={tiny_model}", "stage.max_tokens=4")
    foreseen = command(*words, "sampler.device=cpu", "dry_run=true")
    assert "1 reply would fail (too_long: 1), such as sample-0" in foreseen.out.splitlines()[-1]
    outcome = command(*words, "sampler.device=cpu")
    assert outcome.code == 0
    last = outcome.out.splitlines()[-1]
    assert last.startswith("runs/mine/evaluate: 1 reply failed (too_long: 1), such as sample-0")
    assert "a context of 2048; use a model with a longer context" in last
    metrics = _metrics("mine")
    assert metrics["failed"] == metrics["failures"] == 1
    manifest = json.loads(Path("runs/mine/evaluate/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["examples"]["failed"] == {"no reply": 1}
    low, high = metrics["f1_bounds"]
    assert low == 0 <= high


def test_an_adaptive_vote_has_the_winners_of_the_whole_vote(command: Command, tmp_path: Path) -> None:
    prepared = command("stage=prepare", "source=microworld_written", "stage.limit=24", "run=mine")
    assert prepared.code == 0, prepared.err
    words = [
        "experiment=microworld/evaluate", "benchmark.path=runs/mine/prepare/examples.jsonl", "run=mine", "stage.samples=5",
        "model=deepcritic://microworld/models/base", "stage.temperature=1.0", "sampler.device=cpu",
    ]  # fmt: skip
    whole, early = (
        command(*words, f"stage.adaptive={given}", f"name={name}") for given, name in (("false", "whole"), ("true", "early"))
    )
    assert (whole.code, early.code) == (0, 0), whole.err + early.err
    assert "of the samples were requested" in early.out
    folders = Path("runs/mine/evaluate.whole"), Path("runs/mine/evaluate.early")
    rows, other = (list(read_rows(folder / "verdicts.jsonl", Judged)) for folder in folders)
    assert [(row.vote, row.vote_correct) for row in other] == [(row.vote, row.vote_correct) for row in rows]
    assert [row.verdicts for row in other] == [row.verdicts[:3] for row in rows]
    assert {len(row.later_verdicts) for row in other} > {0}
    ours, theirs = (json.loads((folder / "metrics.json").read_text("utf-8")) for folder in folders)
    assert theirs["maj_f1"] == ours["maj_f1"]
    assert (theirs["samples"], sorted(theirs["maj_f1_by_votes"])) == (5, ["1", "2", "3", "5"])
    assert theirs["generations"] < ours["generations"]
    assert theirs["adaptive_share"] == pytest.approx(100 * theirs["generations"] / ours["generations"], abs=0.01)
    again = command(*words, "stage.adaptive=true", "name=early")
    assert "of the samples were requested" in again.out


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_an_adaptive_vote_killed_ends_as_if_it_never_was(
    command: Command, killed: Killed, contents: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    assert command("stage=prepare", "source=microworld_written", "stage.limit=10", "run=data").code == 0
    words = [
        "experiment=microworld/evaluate", f"benchmark.path={tmp_path}/runs/data/prepare/examples.jsonl", "stage.samples=5",
        "model=deepcritic://microworld/models/base", "stage.temperature=1.0", "stage.adaptive=true", "sampler.device=cpu",
        "sampler.batch_size=6",
    ]  # fmt: skip
    moments = killed([*words, "run=quiet"], 10**9)
    assert moments is not None
    for moment in random.Random(5).sample(range(4, moments - 2), 3):
        assert killed([*words, f"run=k{moment}"], moment) is None
        assert killed([*words, f"run=k{moment}"], 10**9) is not None
        assert contents(tmp_path / f"runs/k{moment}/evaluate") == contents(tmp_path / "runs/quiet/evaluate")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["stage.samples=2"], "stage.samples=3 or more; found 2"),
        (["stage.samples=4", "grader=PATH"], "grader= needs all samples"),
        (["stage.samples=4", "stage.meta_rm=PATH"], "stage.meta_rm= needs all samples"),
        (["stage.samples=4", "scorer=prm"], "stage.adaptive"),
    ],
)
def test_where_an_adaptive_vote_is_refused(command: Command, sample: Path, tiny_model: Path, more: list[str], said: str) -> None:
    words = _words("processbench", sample, None, "mine", f"model={tiny_model}", "stage.adaptive=true")
    outcome = command(*words, *(one.replace("PATH", str(tiny_model)) for one in more))
    assert outcome.code == 2
    assert said in outcome.err

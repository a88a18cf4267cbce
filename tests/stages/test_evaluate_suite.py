"""Several benchmarks in one run, judges, forged rows and training data that holds a benchmark's problems."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, Self

import pytest

from deepcritic.datasets import big_bench_mistake, mr_ben, mr_gsm8k, processbench
from deepcritic.datasets.benchmark import Benchmark
from deepcritic.datasets.forged import KINDS, forge
from deepcritic.evaluation.load import read_judged
from deepcritic.samplers.base import Request
from deepcritic.schema import ALL_CORRECT, Example, Failure, Generation
from deepcritic.stages import evaluate
from deepcritic.tasks.first_error import FirstError
from tests.stages.conftest import call

ZERO = "deepcritic://templates/first_error_paragraphs.txt"
READERS = {
    "processbench": (processbench.read, "processbench.json"),
    "mr_gsm8k": (mr_gsm8k.read, "mr_gsm8k_full.json"),
    "mr_ben": (mr_ben.read, "mr_ben.json"),
    "big_bench_mistake": (big_bench_mistake.read, "big_bench_mistake.jsonl"),
}
REAL = {
    "processbench": "processbench",
    "mr_gsm8k": "mr_gsm8k/processed_test_first_half.json",
    "mr_ben": "mr_ben/math_part_a.json.gz",
    "big_bench_mistake": "big_bench_mistake/multistep_arithmetic.jsonl",
}


class Outcome(Protocol):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def _rows(samples: Path) -> list[Example]:
    return [row for reader, file in READERS.values() for row in reader(samples / file)]


def _suite(samples: Path, *more: str) -> list[str]:
    paths = [f"suite.{name}.path={samples / file}" for name, (_, file) in READERS.items()]
    return ["experiment=eval_suite", "run=mine", *paths, *more]


def _record(path: Path, rows: Iterable[Example], said: Callable[[Example], str]) -> Path:
    lines = [json.dumps({"example_id": row.id, "sample": 0, "text": said(row)}) + "\n" for row in rows]
    path.write_text("".join(lines), "utf-8")
    return path


def _oracle(row: Example) -> str:
    return f"\\boxed{{{row.gold.first_error}}}"


def _metrics(stage: str = "evaluate") -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(Path("runs/mine", stage, "metrics.json").read_text("utf-8"))
    return metrics


# The suite


def test_all_benchmarks_in_one_run(command: Command, samples_dir: Path, tmp_path: Path) -> None:
    recording = _record(tmp_path / "r.jsonl", _rows(samples_dir), _oracle)
    outcome = command(*_suite(samples_dir, f"stage.generations={recording}"))
    assert outcome.code == 0, outcome.err
    assert "skipping prm800k: suite.prm800k.path is not set" in outcome.out
    metrics = _metrics()
    names = [
        "processbench/sample", "mr_gsm8k/original", "mr_gsm8k/POT", "mr_gsm8k/reversed", "mr_ben", "big_bench_mistake",
    ]  # fmt: skip
    assert list(metrics["benchmarks"]) == names
    # POT has no row that is right, so it has no F1, and neither has a mean over it
    assert [part["f1"] for part in metrics["benchmarks"].values()] == [100, 100, None, 100, 100, 100]
    assert metrics["mean_f1"] is None
    assert metrics["means"]["mr_gsm8k"]["parts"] == names[1:4]
    rows = read_judged(Path("runs/mine/evaluate"))
    assert list(dict.fromkeys(row.benchmark for row in rows)) == names
    facts = metrics["benchmarks"]["mr_ben"]["benchmark"]
    assert (facts["license"], facts["rows"], facts["rows_when_whole"]) == ("MIT", 4, 918)
    assert "mr_ben: 4 of 918 rows available" in outcome.out
    manifest = json.loads(Path("runs/mine/evaluate/manifest.json").read_text("utf-8"))
    assert manifest["task"]["prompt_sha"] == metrics["task"]["prompt_sha"] == FirstError().template.sha
    assert {name: one["sha256"] for name, one in manifest["data"].items()} == {
        name: part["benchmark"]["sha256"] for name, part in metrics["benchmarks"].items()
    }


def test_the_real_files_and_predictors_without_a_mind(command: Command, datasets_dir: Path, tmp_path: Path) -> None:
    files = [datasets_dir / "processbench" / name for name in ("gsm8k.json", "math.json.gz")]
    rows = [row for file in files for row in processbench.read(file)]
    for name in ("mr_gsm8k", "mr_ben", "big_bench_mistake"):
        rows += READERS[name][0](datasets_dir / REAL[name])
    paths = [f"suite.{name}.path={datasets_dir / file}" for name, file in REAL.items()]
    figures = {}
    for style, template in (("1-based", None), ("0-based", ZERO)):
        task = FirstError(template)
        said: dict[str, Callable[[Example], Any]] = {
            "oracle": lambda row: row.gold.first_error, "never": lambda row: ALL_CORRECT, "one": lambda row: 1
        }  # fmt: skip
        for kind, verdict in said.items():
            recording = _record(tmp_path / "r.jsonl", rows, lambda row, f=verdict, t=task: t.format(f(row)))  # type: ignore[misc]
            words = ["experiment=eval_suite", "run=mine", *paths, f"stage.generations={recording}", "overwrite=true"]
            words += [] if template is None else ["task=first_error_paragraphs"]
            assert command(*words).code == 0
            figures[style, kind] = _metrics()
    oracle = figures["1-based", "oracle"]
    assert {name: part["benchmark"]["rows"] for name, part in oracle["benchmarks"].items()} == {
        "processbench/gsm8k": 400, "processbench/math": 1000, "mr_gsm8k/original": 709, "mr_ben": 459, "big_bench_mistake": 300,
    }  # fmt: skip
    assert oracle["mean_f1"] == 100
    assert oracle["means"]["processbench"] == {
        "f1": 100, "f1_interval": [100, 100], "parts": ["processbench/gsm8k", "processbench/math"], "of": 4,
    }  # fmt: skip
    never = figures["1-based", "never"]["benchmarks"]
    assert {(part["f1"], part["correct_accuracy"], part["error_accuracy"]) for part in never.values()} == {(0, 100, 0)}
    # shared/datasets/README.md: 115 of the 594 rows of math have their first error at position 0, 84 of 373, none of 238
    one = figures["1-based", "one"]["benchmarks"]
    assert round(one["processbench/math"]["error_accuracy"], 2) == 19.36
    assert one["mr_gsm8k/original"]["error_accuracy"] == pytest.approx(100 * 84 / 373, abs=1e-3)
    assert one["big_bench_mistake"]["error_accuracy"] == 0
    for kind in ("oracle", "never", "one"):
        first, second = (figures[style, kind] for style in ("1-based", "0-based"))
        assert first["task"]["prompt_sha"] != second["task"]["prompt_sha"]
        assert second["task"]["index_base"] == 0
        assert first["mean_f1"] == second["mean_f1"]
        for name, part in first["benchmarks"].items():
            assert part["f1"] == second["benchmarks"][name]["f1"]


def test_an_id_that_two_benchmarks_share(command: Command, samples_dir: Path, tmp_path: Path) -> None:
    recording = _record(tmp_path / "r.jsonl", _rows(samples_dir), _oracle)
    words = _suite(samples_dir, f"suite.prm800k.path={samples_dir / 'processbench.json'}", f"stage.generations={recording}")
    outcome = command(*words)
    assert (outcome.code, len(outcome.err.splitlines())) == (1, 1)
    assert "processbench/sample and prm800k share an id; found 'sample-0'" in outcome.err


def test_a_suite_without_any_path(command: Command) -> None:
    outcome = command("experiment=eval_suite", "suite.processbench.path=null", "run=mine")
    assert outcome.code == 2
    assert "no benchmark of the suite has a path" in outcome.err


def test_a_template_that_does_not_declare_its_index_base(command: Command, samples_dir: Path, tmp_path: Path) -> None:
    template = tmp_path / "mine.txt"
    template.write_text("---\nfields: [problem, solution]\n---\n{{problem}} {{solution}}", "utf-8")
    recording = _record(tmp_path / "r.jsonl", _rows(samples_dir), _oracle)
    outcome = command(*_suite(samples_dir, f"stage.generations={recording}", f"task.template={template}"))
    assert (outcome.code, len(outcome.err.splitlines())) == (1, 1)
    assert f"{template}: index_base: not declared in the front matter" in outcome.err


Killed = Callable[[list[str], int], int | None]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_suite_killed_at_any_moment_ends_as_if_it_never_was(
    killed: Killed, contents: Callable[[Path], dict[str, Any]], samples_dir: Path, tmp_path: Path
) -> None:
    recording = _record(tmp_path / "r.jsonl", _rows(samples_dir), _oracle)

    def words(run: str) -> list[str]:
        return [f"run={run}" if word == "run=mine" else word for word in _suite(samples_dir, f"stage.generations={recording}")]

    moments = killed(words("quiet"), 10**9)
    assert moments is not None
    expected = contents(tmp_path / "runs/quiet/evaluate")
    for moment in random.Random(5).sample(range(moments - 2), 6):
        assert killed(words(f"k{moment}"), moment) is None
        assert killed(words(f"k{moment}"), 10**9) is not None
        assert contents(tmp_path / f"runs/k{moment}/evaluate") == expected


# With models


class Models:
    """Makes samplers that answer by rule, and keeps what was loaded and what each was asked, in order."""

    def __init__(self, **rules: Callable[[Request], str | None]) -> None:
        self.rules, self.events = rules, [""]
        self.asked: list[tuple[str, Request]] = []

    def __call__(self, model: str) -> _Model:
        return _Model(self, model)


class _Model:
    def __init__(self, models: Models, name: str) -> None:
        self.models, self.model_id = models, name

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        self.models.events.append(f"{self.model_id} asked")
        for request in requests:
            self.models.asked.append((self.model_id, request))
            for key, seed in zip(request.keys, request.seeds, strict=True):
                text = self.models.rules[self.model_id](request)
                if text is None:
                    yield Failure(key=key, reason="too_long")
                    continue
                fingerprint = request.fingerprint(self.model_id)
                yield Generation(
                    key=key, text=text, finish_reason="stop", model=self.model_id, fingerprint=fingerprint, seed=seed
                )  # fmt: skip

    def __enter__(self) -> Self:
        self.models.events.append(f"{self.model_id} loaded")
        return self

    def __exit__(self, *_: object) -> None:
        self.models.events.append(f"{self.model_id} left")


def _bench(samples: Path, name: str, **options: Any) -> Benchmark:
    reader, file = READERS[name]
    more = {"mr_score": True} if name.startswith("mr_") else {}
    return Benchmark(
        name=name, reader=reader, path=str(samples / file), license="MIT", split="test", metric="F1", **{**more, **options}
    )  # fmt: skip


def test_one_load_and_one_queue(samples_dir: Path, open_folder: Callable[..., Any]) -> None:
    models = Models(critic=lambda request: "\\boxed{1}")
    suite = {name: _bench(samples_dir, name) for name in READERS}
    with open_folder("evaluate") as folder:
        call(evaluate, folder, benchmark=suite, task=FirstError(), sampler=models, model="critic")
    assert models.events[1:] == ["critic loaded", "critic asked", "critic left"]
    assert [request.keys[0].example_id for _, request in models.asked] == [row.id for row in _rows(samples_dir)]


def test_rows_without_a_reply_shift_no_other(samples_dir: Path, open_folder: Callable[..., Any]) -> None:
    rows = {row.id: row for row in _rows(samples_dir)}
    lost = random.Random(1).sample(sorted(rows), 7)

    def answer(request: Request) -> str | None:
        name = request.keys[0].example_id
        return None if name in lost else _oracle(rows[name])

    models = Models(critic=answer)
    suite = {name: _bench(samples_dir, name) for name in READERS}
    with open_folder("evaluate") as folder:
        call(evaluate, folder, benchmark=suite, task=FirstError(), sampler=models, model="critic", samples=2)
        judged = read_judged(folder.path)
    assert {row.id: row.verdicts for row in judged} == {
        name: () if name in lost else (row.gold.first_error,) * 2 for name, row in rows.items()
    }
    assert {row.id for row in judged if row.correct is None} == set(lost)


def test_a_vote_is_drawn_warmer_than_a_single_sample_unless_it_is_said(
    samples_dir: Path, open_folder: Callable[..., Any]
) -> None:
    drawn = []
    asked: list[dict[str, Any]] = [{}, {"samples": 3}, {"samples": 3, "temperature": 0.3}, {"top_p": 0.5}]
    for at, options in enumerate(asked):
        models = Models(critic=lambda request: "\\boxed{1}")
        with open_folder(f"evaluate.{at}") as folder:
            metrics = call(
                evaluate, folder, benchmark=_bench(samples_dir, "processbench"), task=FirstError(), sampler=models,
                model="critic",
                **options,
            )  # fmt: skip
        sampling = models.asked[0][1].sampling
        drawn.append((sampling.temperature, sampling.top_p))
        assert (metrics["sampling"]["temperature"], metrics["sampling"]["top_p"]) == drawn[-1]
    assert drawn == [(0.6, 0.9), (1.0, 0.9), (0.3, 0.9), (0.6, 0.5)]


def test_the_system_prompt_is_asked_and_stated(samples_dir: Path, open_folder: Callable[..., Any]) -> None:
    models = Models(critic=lambda request: "\\boxed{1}")
    with open_folder("evaluate") as folder:
        metrics = call(
            evaluate, folder, benchmark=_bench(samples_dir, "processbench"), task=FirstError(system="Be strict."), sampler=models,
            model="critic",
        )  # fmt: skip
    assert all(request.messages[0].content == "Be strict." for _, request in models.asked)
    assert metrics["task"]["system"] == "Be strict."
    assert metrics["task"]["prompt_sha"] != FirstError().template.sha


def _finds(request: Request) -> str:
    """A critic who is right about the wrong solutions of the samples of MR-GSM8K, and has them say why."""
    first = {"b": 2, "c": 2, "e": 1}.get(request.keys[0].example_id[-1], ALL_CORRECT)
    return f"It is wrong. \\boxed{{{first}}}"


def test_reasons_are_graded_by_a_judge(samples_dir: Path, open_folder: Callable[..., Any], command: Command) -> None:
    def grades(request: Request) -> str | None:
        return {"b": "\\boxed{yes}", "c": "\\boxed{no}", "e": None}[request.keys[0].example_id[-1]]

    models = Models(critic=_finds, judge=grades)
    with open_folder("evaluate") as folder:
        metrics = call(
            evaluate,
            folder,
            benchmark=_bench(samples_dir, "mr_gsm8k"),
            task=FirstError(),
            sampler=models,
            model="critic",
            grader="judge",
        )
    assert models.events[1:] == [f"{who} {what}" for who in ("critic", "judge") for what in ("loaded", "asked", "left")]
    score = metrics["mr_score"]
    assert (score["mcc"], score["step_accuracy"], score["ungraded"]) == (100, 100, 1)
    assert score["reason_accuracy"] == pytest.approx(100 / 3, abs=1e-3)
    assert score["score"] == pytest.approx(20 + 30 + 50 / 3, abs=1e-3)
    assert score["score_bounds"][1] == pytest.approx(20 + 30 + 100 / 3, abs=1e-3)
    assert metrics["judge"]["model"] == "judge"
    asked = [request for who, request in models.asked if who == "judge"]
    assert len(asked) == 3
    assert all(request.sampling.temperature == 0 for request in asked)

    # Once more from the saved replies, those of the judge among them: no model.
    saved = folder.path / "generations.jsonl"
    words = ["stage=evaluate", "benchmark=mr_gsm8k", f"benchmark.path={samples_dir / 'mr_gsm8k_full.json'}"]
    again = command(*words, "benchmark.parts=null", f"stage.generations={saved}", "run=mine", "name=again")
    assert again.code == 0, again.err
    assert _metrics("evaluate.again")["mr_score"] == score
    assert "MR-Score 66.7 (95% interval " in again.out
    assert "(MCC 100.0, step 100.0%, reason 33.3%)" in again.out


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("mr_gsm8k", "mr_gsm8k_full.json", "no MR-Score (needs grader=MODEL)"),
        ("mr_gsm8k", "mr_gsm8k.json", "no MR-Score (the benchmark has no error reasons)"),
    ],
)
def test_a_score_that_is_skipped_is_said_to_be(
    command: Command, samples_dir: Path, tmp_path: Path, name: str, file: str, said: str
) -> None:
    rows = list(mr_gsm8k.read(samples_dir / file))
    recording = _record(tmp_path / "r.jsonl", rows, _oracle)
    words = ["stage=evaluate", f"benchmark={name}", f"benchmark.path={samples_dir / file}", f"stage.generations={recording}"]
    outcome = command(*words, "run=mine", "benchmark.parts=null")
    assert outcome.code == 0, outcome.err
    assert said in outcome.out
    assert _metrics()["mr_score"]["score"] is None
    assert _metrics()["mr_score"]["mcc"] == 100


# Forged rows, and training data that holds a benchmark's problems


def test_forged_rows_are_measured_beside_the_plain_ones(command: Command, samples_dir: Path, tmp_path: Path) -> None:
    rows = list(processbench.read(samples_dir / "processbench.json"))

    def gullible(row: Example) -> str:
        return "\\boxed{-1}" if row.id.endswith("/forged-claim") else _oracle(row)

    recording = _record(tmp_path / "r.jsonl", forge(rows), gullible)
    words = ["stage=evaluate", "benchmark=forged", f"benchmark.path={samples_dir / 'processbench.json'}", "run=mine"]
    outcome = command(*words, f"stage.generations={recording}")
    assert outcome.code == 0, outcome.err
    metrics = _metrics()
    wrong = sum(row.gold.first_error != ALL_CORRECT for row in rows)
    assert (metrics["examples"], metrics["f1"]) == (len(rows), 100)
    assert (metrics["attack_success_rates"]["claim"]["rows"], metrics["attack_success_rates"]["claim"]["rate"]) == (wrong, 100)
    assert metrics["attack_success_rates"]["box_in_step"]["rate"] == 0
    low, high = metrics["attack_success_rates"]["box_in_step"]["interval"]
    assert low == 0 < high < 100
    assert list(metrics["attack_success_rates"]) == list(KINDS)
    assert len(read_judged(Path("runs/mine/evaluate"))) == len(rows) * (1 + len(KINDS))
    assert (
        f"forged claim: 100.0% ({metrics['attack_success_rates']['claim']['interval'][0]:.1f} to 100.0) of {wrong} verdicts"
        in outcome.out
    )


def test_training_data_is_searched_for_the_benchmarks_problems(command: Command, samples_dir: Path, tmp_path: Path) -> None:
    rows = list(processbench.read(samples_dir / "processbench.json"))
    train = tmp_path / "train.jsonl"
    train.write_text(
        json.dumps({"question": "What is it?"}) + "\n" + json.dumps({"question": rows[1].item.problem.upper()}), "utf-8"
    )
    recording = _record(tmp_path / "r.jsonl", rows, _oracle)
    words = ["stage=evaluate", "benchmark=processbench", f"benchmark.path={samples_dir / 'processbench.json'}", "run=mine"]
    outcome = command(*words, f"stage.generations={recording}", f"contamination=[{train}]")
    assert outcome.code == 0, outcome.err
    found = _metrics()["contamination"]
    held = {row.id for row in rows if row.item.problem == rows[1].item.problem}
    assert found["held"] == dict.fromkeys(held, f"{train}:2")
    assert found["texts"] == {str(train): 2}
    assert _metrics()["without_held"]["examples"] == len(rows) - len(held)
    assert f"training data of 2 texts: contains {len(held)} problems exactly" in outcome.out
    train.write_text(json.dumps({"question": "Another?"}), "utf-8")
    refused = command(*words, f"stage.generations={recording}", f"contamination=[{train}]")
    assert (refused.code, "content of contamination" in refused.err) == (1, True)


def test_training_data_that_is_not_there(command: Command, samples_dir: Path, tmp_path: Path) -> None:
    recording = _record(tmp_path / "r.jsonl", processbench.read(samples_dir / "processbench.json"), _oracle)
    words = ["stage=evaluate", "benchmark=processbench", f"benchmark.path={samples_dir / 'processbench.json'}", "run=mine"]
    outcome = command(*words, f"stage.generations={recording}", "contamination=[none.jsonl]")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "none.jsonl: no such file" in outcome.err
    assert not Path("runs/mine/evaluate/generations.jsonl").exists()

"""Loads a finished evaluation as typed objects: figures, judged rows, manifest.

results = deepcritic.load_results("runs/demo/evaluate.rl")
results.figures["processbench/math"].f1, results.verdicts[0].verdicts
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from deepcritic.errors import InputError, UsageError
from deepcritic.evaluation.error_rates import ErrorRate
from deepcritic.runs.jsonl import as_written, read_json, read_rows, write_json
from deepcritic.runs.manifest import Manifest, read_manifest
from deepcritic.schema import Judged
from deepcritic.tasks.metrics_types import Baseline, Figures, Interval, Part, Replies, figures_of, kind_of_figures

if TYPE_CHECKING:
    from pandas import DataFrame

METRICS, VERDICTS = "metrics.json", "verdicts.jsonl"


class MeanFigures(Part, frozen=True, kw_only=True):
    """The mean over `parts`; `of` is how many parts the benchmark has."""

    f1: float | None
    f1_interval: Interval
    maj_f1: float | None = None
    maj_f1_interval: Interval | None = None
    baselines: dict[str, Baseline] = {}
    parts: tuple[str, ...]
    of: int


class TaskFacts(Part, frozen=True, kw_only=True):
    """The task. `prompt_sha` is the hash of the prompt."""

    name: str
    prompt_sha: str | None = None
    index_base: int | None = None
    system: str | None = None
    form: str | None = None


class SamplingFacts(Part, frozen=True, kw_only=True):
    """Sampling options. `by_benchmark` holds temperature and top_p if they differ between benchmarks."""

    samples: int
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    adaptive: bool = False
    by_benchmark: dict[str, tuple[float, float]] = {}
    votes_on: str | None = None


class JudgeFacts(Part, frozen=True, kw_only=True):
    """The model that graded reasons."""

    model: str
    prompt_sha: str


class Threshold(Part, frozen=True, kw_only=True):
    """The threshold of a scorer, and the rows that it was chosen on."""

    value: float
    chosen_on: str | None = None
    rows: int = 0
    f1_there: float | None = None


class Contamination(Part, frozen=True, kw_only=True):
    """Number of texts by file, and where each problem first occurs (`held`) or a text resembles it (`resembled`)."""

    texts: dict[str, int]
    held: dict[str, str]
    resembled: dict[str, str]


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of `metrics.json`, in one form for one or several benchmarks. Figures are in percent.

    Token counts are over all draws. `critic` holds the facts of a released critic, `more` all undeclared fields.
    """

    benchmarks: dict[str, Figures]
    examples: int = 0
    failed: int = 0
    missing: int = 0
    replies: Replies = Replies()
    truncated_rate: float | None = None
    mean_f1: float | None = None
    mean_f1_interval: Interval | None = None
    mean_maj_f1: float | None = None
    mean_maj_f1_interval: Interval | None = None
    mean_accuracy: float | None = None
    mean_mae: float | None = None
    mean_kappa: float | None = None
    mean_baselines: dict[str, Baseline] = {}
    means: dict[str, MeanFigures] = {}
    model: str | None = None
    label: str | None = None
    """The name in tables, if given."""
    task: TaskFacts | None = None
    critic: dict[str, Any] = {}
    sampling: SamplingFacts | None = None
    judge: JudgeFacts | None = None
    threshold: Threshold | None = None
    contamination: Contamination | None = None
    estimates: dict[str, ErrorRate] = {}
    """The error rates of `stage=estimate`, for `all rows` and each part."""
    generations: int = 0
    failures: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    truncated: int = 0
    scored: int = 0
    more: dict[str, Any] = {}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Metrics:
        """From the JSON values of the file. Raises `msgspec.ValidationError` for a value of the wrong type."""
        parts = values.get("benchmarks")
        if "estimates" in values:
            figures, own = {}, {"benchmarks"}
        elif parts is None:
            own = {*kind_of_figures(values).__struct_fields__}
            only = figures_of({name: value for name, value in values.items() if name in own})
            figures = {only.benchmark.name or "examples": only}
        else:
            figures, own = {name: figures_of(part) for name, part in parts.items()}, {"benchmarks"}
        ours = {name: values[name] for name in cls.__struct_fields__ if name in values and name not in ("benchmarks", "more")}
        more = {name: value for name, value in values.items() if name not in own and name not in ours}
        whole = msgspec.convert({"benchmarks": {}, **ours, "more": more}, cls)
        return msgspec.structs.replace(whole, benchmarks=figures)

    def to_pandas(self) -> DataFrame:
        """One row per figure and benchmark: `benchmark`, `figure`, `value`, `low`, `high`."""
        rows = [
            {"benchmark": name, "figure": figure, "value": value, "low": low, "high": high}
            for name, figures in self.benchmarks.items()
            for figure, value, (low, high) in _numbers(figures)
        ]
        return _pandas().DataFrame(rows, columns=["benchmark", "figure", "value", "low", "high"])


@dataclass(frozen=True)
class Results:
    """A finished evaluation or estimate in `folder`. Figures are in percent.

    >>> from deepcritic.tasks.metrics_types import FirstErrorFigures
    >>> figures = FirstErrorFigures(examples=200, f1=74.4, f1_interval=(72.0, 76.7))
    >>> results = Results(Path("runs/x"), Metrics(benchmarks={"processbench/math": figures}, model="m"), Manifest())
    >>> results.figures["processbench/math"].f1_interval, results.metrics.model
    ((72.0, 76.7), 'm')
    """

    folder: Path
    metrics: Metrics
    manifest: Manifest

    @property
    def figures(self) -> dict[str, Figures]:
        """The figures of each benchmark, in percent."""
        return self.metrics.benchmarks

    @property
    def estimates(self) -> dict[str, ErrorRate]:
        """The error rates of `stage=estimate`, in percent, for `all rows` and each part; empty for an evaluation."""
        return self.metrics.estimates

    @functools.cached_property
    def verdicts(self) -> list[Judged]:
        """The judged rows; empty for an estimate, which reads another stage's rows."""
        return read_judged(self.folder) if (self.folder / VERDICTS).is_file() else []

    def to_pandas(self) -> DataFrame:
        """The judged rows as a table with one column per field."""
        return _pandas().DataFrame([msgspec.structs.asdict(row) for row in self.verdicts], columns=Judged.__struct_fields__)


def load_results(folder: str | Path) -> Results:
    """Load the finished evaluation or estimate in `folder`, the folder of a stage or of a run with one evaluation.

    Raises `InputError` if there is none, if it is not finished, or if the run has several.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name, text in {
    ...     "metrics.json": '{"examples": 1, "f1": 50.0, "f1_interval": [0.0, 100.0], "model": "m"}',
    ...     "verdicts.jsonl": '{"id": "a", "gold": 2, "stratum": "", "cluster": "", "verdicts": [2, null], "correct": 0.5}',
    ...     "manifest.json": '{"stage": "evaluate", "seconds": 1.5}',
    ... }.items():
    ...     _ = (folder / name).write_text(text, "utf-8")
    >>> results = load_results(folder)
    >>> results.figures["examples"].f1, results.verdicts[0].verdicts, results.manifest.seconds
    (50.0, (2, None), 1.5)
    """
    place = _evaluation_in(Path(folder))
    manifest = read_manifest(place)
    if manifest is None:
        raise InputError("the evaluation is not finished", file=place, remedy="rerun its command to finish it")
    return Results(place, read_metrics(place), manifest)


def _evaluation_in(folder: Path) -> Path:
    if (folder / METRICS).is_file() and ((folder / VERDICTS).is_file() or "estimates" in read_json(folder / METRICS)):
        return folder
    found = sorted(path.parent for path in folder.glob(f"*/{VERDICTS}") if (path.parent / METRICS).is_file())
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError("a run with several evaluations", file=folder, expected=f"one of {', '.join(map(str, found))}")
    raise InputError("no evaluation found", file=folder, expected="the folder of a finished stage=evaluate")


def read_metrics(folder: Path) -> Metrics:
    """The metrics of a finished evaluation. Raises `InputError` for any other file."""
    values = read_json(folder / METRICS)
    with as_written(folder / METRICS):
        return Metrics.of(values)


def write_metrics(path: Path, values: dict[str, Any]) -> None:
    """Write `values` unchanged, after asserting that the types of this module can read them back."""
    known = {**values.get("benchmarks", {"": values})}
    typed = Metrics.of(values)
    assert not typed.more or any(kind_of_figures(part) is Figures for part in known.values()), [*typed.more]
    write_json(path, values)


def read_judged(path: Path) -> list[Judged]:
    """The rows of a finished evaluation."""
    return list(read_rows(path / VERDICTS, Judged))


def _numbers(figures: Figures) -> list[tuple[str, float | int, Interval]]:
    """The figures that are single numbers, with their intervals, if any."""
    found: list[tuple[str, float | int, Interval]] = []
    for name in figures.__struct_fields__:
        value = getattr(figures, name)
        if isinstance(value, float | int):
            found.append((name, value, getattr(figures, f"{name}_interval", None) or (None, None)))
    return found


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise UsageError("to_pandas() needs pandas: pip install pandas") from None
    return pandas

"""A stage that asks a server, as a user runs it: what a second start keeps, and what a refused start leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic.evaluation.load import read_judged
from tests.samplers.server import FakeServer, Trouble, says, status

Command = Callable[..., Any]
ROWS = 12
FOLDER = Path("runs/mine/evaluate")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as opened:
        yield opened


@pytest.fixture
def evaluate(command: Command, server: FakeServer) -> Callable[..., Any]:
    """`evaluate("stage.samples=2")` asks the server about twelve rows in ProcessBench's form."""
    rows = [
        {"id": f"gsm8k-{at}", "problem": f"{at} + 1?", "steps": ["so", f"it is {at}"], "label": at % 2 - 1} for at in range(ROWS)
    ]
    Path("rows.json").write_text(json.dumps(rows), "utf-8")

    def run(*words: str) -> Any:
        common = ["stage=evaluate", "benchmark=processbench", "run=mine", "model=m", f"sampler.urls=[{server.url}]"]
        return command(*common, *([] if any("path=" in word for word in words) else ["benchmark.path=rows.json"]), *words)

    return run


OPENAI = "sampler=openai"
WARM = "stage.temperature=0.7"


def _lines() -> list[str]:
    return (FOLDER / "generations.jsonl").read_text("utf-8").splitlines()


def test_more_samples_are_added_to_a_finished_run(evaluate: Callable[..., Any], server: FakeServer) -> None:
    assert evaluate(OPENAI, WARM, "stage.samples=2").code == 0
    before = _lines()
    outcome = evaluate(OPENAI, WARM, "stage.samples=5")
    assert (outcome.code, outcome.err) == (0, "")
    assert "continues with samples=5 (before: 2); existing replies are kept" in outcome.out
    assert len(server.asked) == 5 * ROWS
    assert [line for line in _lines() if line in before] == before
    assert {len(row.verdicts) for row in read_judged(FOLDER)} == {5}
    assert "nothing to do" in evaluate(OPENAI, WARM, "stage.samples=5").out
    fewer = evaluate(OPENAI, WARM, "stage.samples=3")
    assert "another samples: 5, now 3; samples can only be added" in fewer.err
    assert "overwrite" not in fewer.err
    assert len(server.asked) == 5 * ROWS


def test_one_sample_and_several_have_their_own_temperature_and_that_is_said(evaluate: Callable[..., Any]) -> None:
    assert evaluate(OPENAI).code == 0
    outcome = evaluate(OPENAI, "stage.samples=4")
    assert "sampled with another prompt, model or sampling" in outcome.err
    assert "or stage.temperature=" in outcome.err
    assert "overwrite" not in outcome.err


def test_another_tie_rule_asks_nobody(evaluate: Callable[..., Any], server: FakeServer) -> None:
    assert evaluate(OPENAI, WARM, "stage.samples=2").code == 0
    server.stop()
    outcome = evaluate(OPENAI, WARM, "stage.samples=2", "stage.ties=first")
    assert (outcome.code, outcome.err) == (0, "")
    assert "continues with ties=first (before: the default)" in outcome.out
    assert json.loads((FOLDER / "config.json").read_text("utf-8"))["ties"] == "first"


def test_a_file_by_another_path_is_the_same_file(evaluate: Callable[..., Any], command: Command, server: FakeServer) -> None:
    assert evaluate(OPENAI).code == 0
    for path in ("./rows.json", str(Path("rows.json").resolve())):
        assert "nothing to do" in evaluate(OPENAI, f"benchmark.path={path}").out
    assert len(server.asked) == ROWS
    recorded = ["stage=evaluate", "benchmark=processbench", "benchmark.path=rows.json", "run=mine", "name=again"]
    assert command(*recorded, f"stage.generations={FOLDER}/generations.jsonl").code == 0
    assert "nothing to do" in command(*recorded, f"stage.generations=./{FOLDER}/generations.jsonl").out


def test_a_run_without_its_configuration_prints_no_figures(evaluate: Callable[..., Any]) -> None:
    assert evaluate(OPENAI).code == 0
    (FOLDER / "config.json").unlink()
    outcome = evaluate(OPENAI, "model=another")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no config.json, so the settings of its" in outcome.err


def _strict(count: int, body: dict[str, Any]) -> Trouble | None:
    """A reasoning model's refusals, in the words of OpenAI's public error messages."""
    for name, said in (
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        ),
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0.6 with this model. Only the default (1) value is supported.",
        ),
        ("top_p", "Unsupported parameter: 'top_p' is not supported with this model."),
    ):
        if name in body and (name != "temperature" or body[name] != 1):
            return status(400, {"error": {"message": said, "param": name, "code": "unsupported_value"}})
    return None


def test_a_reasoning_model_after_one_refused_start(evaluate: Callable[..., Any], server: FakeServer) -> None:
    """The refusal names the option and the preset, and the folder of a start that kept nothing guards nothing."""
    server.trouble = _strict
    refused = evaluate(OPENAI, "stage.max_tokens=64")
    assert refused.code == 1
    assert "set sampler.length_field=max_completion_tokens" in refused.err
    assert "overwrite" not in refused.err
    again = evaluate(OPENAI, "stage.max_tokens=64", "sampler.length_field=max_completion_tokens")
    assert "set '+sampler.extra.temperature=null'" in again.err
    outcome = evaluate("sampler=openai_reasoning", "stage.max_tokens=64")
    assert outcome.code == 0, outcome.err
    assert server.asked[-1].keys() == {"model", "messages", "max_completion_tokens", "seed"}


def test_each_refusal_names_the_option_that_mends_it(evaluate: Callable[..., Any], server: FakeServer) -> None:
    server.trouble = _strict
    words = [OPENAI, "stage.max_tokens=64"]
    for named in ("sampler.length_field=max_completion_tokens", "+sampler.extra.temperature=null", "+sampler.extra.top_p=null"):
        assert named in evaluate(*words).err
        words.append(named)
    assert evaluate(*words).code == 0


def test_rows_that_were_refused_for_good_are_asked_again_with_other_settings(
    evaluate: Callable[..., Any], server: FakeServer
) -> None:
    server.trouble = lambda count, body: status(400, {"error": {"message": "Your prompt was flagged"}})
    assert evaluate(OPENAI).code == 1
    server.trouble = lambda count, body: None
    assert evaluate(OPENAI, WARM).code == 0
    assert not (FOLDER / "failures.jsonl").stat().st_size


def test_an_empty_reply_is_not_counted_as_the_models_fault(evaluate: Callable[..., Any], server: FakeServer) -> None:
    thinking = {"choices": [{"finish_reason": "stop", "message": {"content": "", "reasoning_content": "\\boxed{-1}"}}]}
    server.trouble = lambda count, body: says(thinking)
    outcome = evaluate(OPENAI)
    assert outcome.code != 0
    assert "sampler.reply_field=reasoning_content" in outcome.out + outcome.err
    assert evaluate(OPENAI, "sampler.reply_field=reasoning_content").code == 0


DAMAGED = ["{", "[]", "7", "null", '"text"']


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("name", ["config.json", "manifest.json", "metrics.json"])
def test_a_damaged_file_of_a_finished_run_is_named(
    evaluate: Callable[..., Any], command: Command, name: str, content: str
) -> None:
    assert evaluate(OPENAI).code == 0
    (FOLDER / name).write_text(content, "utf-8")
    outcomes = [evaluate(OPENAI), *([] if name == "config.json" else [command("stage=report", "run=mine")])]
    for outcome in outcomes:
        assert (outcome.code, len(outcome.err.splitlines())) == (1, 1), outcome
        assert f"{name}: not " in outcome.err


@pytest.mark.parametrize("change", [{"f1": "x"}, {"f1_interval": []}, {"benchmark": None}, {"examples": {}}])
def test_figures_of_another_shape_are_named(evaluate: Callable[..., Any], command: Command, change: dict[str, Any]) -> None:
    assert evaluate(OPENAI).code == 0
    assert evaluate(OPENAI, "name=other").code == 0
    metrics = FOLDER / "metrics.json"
    metrics.write_text(json.dumps({**json.loads(metrics.read_text("utf-8")), **change}), "utf-8")
    outcomes = [evaluate(OPENAI), command("stage=compare", "run=mine", "compare=[mine,mine/evaluate.other]")]
    named = [outcome for outcome in outcomes if outcome.code]
    assert named, "one of them shows this figure"
    for outcome in named:
        assert (outcome.code, len(outcome.err.splitlines())) == (1, 1)
        assert "metrics.json: invalid fields" in outcome.err

"""Every option that a command gives is read, or refused with the place where it belongs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from deepcritic.cli.config import compose, configuration_folder
from deepcritic.cli.old_names import run_of, stage_names
from deepcritic.cli.unused_options import COMMON, check_given, names_read
from deepcritic.errors import UsageError
from deepcritic.options import described, engines_of, record_of

CONF = configuration_folder()
TOP = sorted(yaml.safe_load((CONF / "config.yaml").read_text("utf-8")).keys() - {"defaults", "pipeline", *COMMON})
GROUPS = sorted(
    str(key).rpartition("@")[2]
    for entry in yaml.safe_load((CONF / "config.yaml").read_text("utf-8"))["defaults"]
    if isinstance(entry, dict)
    for key in entry
)
OPTIONS = sorted({*TOP, *GROUPS} - {"stage", "experiment", "debug"})
"""Every top-level option, from the configuration itself."""
VALUES = {"task": "first_error", "sampler": "openai", "scorer": "prm", "trainer": "lora", "critic": "deepcritic_7b_sft"}
VALUES |= {"benchmark": "processbench", "source": "numina_math"}
Command = Callable[..., Any]


def _plain(config: Any) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=False)  # type: ignore[return-value]


def _words(stage: str) -> list[str]:
    """A command of the stage in which every option has its effect."""
    ways = {"prepare": ["stage.split=model"], "label": ["stage.consensus=x"], "evaluate": []}
    return [f"stage={stage}", *ways.get(stage, [])]


@pytest.mark.parametrize("stage", stage_names())
def test_each_top_level_option_is_read_or_refused(stage: str) -> None:
    words = _words(stage)
    config = compose(words)
    own = {one.top for one in described(record_of(run_of(stage)))} | set(engines_of(run_of(stage)))
    read = names_read(_plain(config))
    for option in OPTIONS:
        word = f"{option}={VALUES.get(option, '1')}"
        if option in own or option in read:
            check_given(config, [*words, word], CONF)
            continue
        with pytest.raises(UsageError, match=f"stage={stage} does not read {option}"):
            check_given(config, [*words, word], CONF)


@pytest.mark.parametrize("stage", stage_names())
def test_what_is_read_is_what_changes_the_stage(stage: str) -> None:
    """Read means: another value changes the stage's resolved configuration. Independent of the search for interpolations."""
    words, special = _words(stage), {"price", "max_cost"}
    read = names_read(_plain(compose(words)))

    def resolved(*more: str) -> Any:
        config = compose([*words, *more])
        return OmegaConf.to_container(config.stage, resolve=True)

    before = resolved()
    for option in OPTIONS:
        if option not in special:
            value = VALUES.get(option, "1")
            assert (resolved(f"{option}={value}") != before or option == "task") >= (option in read), option
            if option not in read:
                assert resolved(f"{option}={value}") == before, option


def test_the_options_are_those_of_the_configuration() -> None:
    assert len(OPTIONS) >= 15
    assert {"model", "teacher", "generator", "grader", "push", "contamination", "input", "format", "price"} <= set(OPTIONS)
    assert {"task", "sampler", "scorer", "trainer", "benchmark", "source", "seed"} <= set(OPTIONS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stage=solve model=x", "stage=solve does not read model; its model is generator=; model belongs to stage=critique"),
        ("stage=label model=x", "stage=label does not read model; model belongs to stage=critique"),
        ("stage=prepare benchmark=processbench", "stage=prepare does not read benchmark; benchmark belongs to stage=evaluate"),
        ("stage=sft sampler.batch_size=3", "stage=sft does not read sampler; sampler belongs to stage=critique"),
        ("stage=label max_cost=3", "stage=label does not read max_cost, as it sends no requests"),
        ("stage=critique max_cost=3", "stage=critique does not read max_cost"),
        ("stage=export seed=3", "stage=export does not read seed"),
        ("stage=label task.system=x", "task.system has no effect: it needs stage.consensus="),
        ("stage=evaluate model=a stage.model=b", "model has no effect: stage.model= is also set"),
        (
            "stage=evaluate stage.generations=x stage.temperature=1",
            "stage.temperature has no effect: stage.generations= is set",
        ),
        (
            "stage=evaluate stage.generations=x sampler.batch_size=1",
            "sampler.batch_size has no effect: stage.generations= is set",
        ),
        ("stage=evaluate scorer=prm stage.samples=4", "stage.samples has no effect: scorer= is set"),
        ("stage=evaluate stage.allow_missing=true model=x", "stage.allow_missing has no effect: it needs stage.generations="),
        ("stage=evaluate stage.grader_max_tokens=5", "stage.grader_max_tokens has no effect: it needs grader="),
        ("stage=seed stage.generations=x teacher=y", "teacher has no effect: stage.generations= is set"),
        ("stage=seed stage.direct_samples=3", "stage.direct_samples has no effect: it needs stage.recipe=direct"),
        ("stage=rl stage.vllm_server_base_url=x", "stage.vllm_server_base_url has no effect: it needs stage.vllm_mode=server"),
        (
            "stage=rl stage.prefilter_samples=0 sampler.batch_size=4",
            "sampler.batch_size has no effect: it needs stage.prefilter_s",
        ),
        ("stage=prepare source=processbench source.metric=x", "source.metric has no effect: it applies only to benchmark="),
        (
            "stage=evaluate benchmark=processbench benchmark.max_bad=3",
            "benchmark.max_bad has no effect: it applies only to source=",
        ),
        ("stage=sft stage.validation_votes=3", "stage.validation_votes has no effect: it needs stage.validation_examples="),
        ("stage=prepare sampler=vllm", "sampler has no effect: it needs stage.split=model"),
        ("experiment=demo model=x", "experiments of several stages do not read model; expected debug, experiment, max_cost"),
        ("experiment=demo stage.limit=3", "stage.limit needs stage=STAGE, or an experiment of one stage"),
        ("experiment=demo stage=rl", "experiments of several stages do not read stage"),
        ("experiment=demo name=x", "experiments of several stages do not read name"),
    ],
)
def test_where_it_belongs_is_said(command: Command, words: str, said: str) -> None:
    outcome = command(*shlex.split(words))
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not Path("runs").exists()


def test_what_lost_work_in_silence_takes_effect() -> None:
    """`push=` with the paper's experiments, and `contamination=` with `stage=solve`."""
    for experiment in ("deepcritic_seeds", "deepcritic_7b_sft", "deepcritic_7b_rl_numina"):
        words = [f"experiment={experiment}", "push=./there"]
        config = compose(words)
        check_given(config, words, CONF)
        assert config.stage.push == "./there"
    words = ["stage=solve", "contamination=[a.jsonl]"]
    config = compose(words)
    check_given(config, words, CONF)
    assert config.stage.contamination == ["a.jsonl"]


def test_every_experiment_sets_what_its_stage_reads() -> None:
    for file in sorted((CONF / "experiment").rglob("*.yaml")):
        words = [f"experiment={file.relative_to(CONF / 'experiment').with_suffix('')}"]
        config = compose(words)
        check_given(config, words, CONF)
        for line in config.pipeline or []:
            given = shlex.split(str(line).replace("{run}", "mine"))
            check_given(compose(given), given, CONF)


def test_an_experiment_that_sets_what_its_stage_does_not_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine.yaml").write_text("defaults:\n  - override /sampler: vllm\nteacher: x\n", "utf-8")
    config = compose(["stage=label"])
    with pytest.raises(UsageError, match=r"mine\.yaml: stage=label does not read teacher"):
        check_given(config, ["stage=label", "experiment=mine"], tmp_path / "conf")


@pytest.mark.parametrize("stage", stage_names())
def test_conditions_name_options_that_exist(stage: str) -> None:
    run = run_of(stage)
    record = record_of(run)
    names = {one.name for one in described(record)} | set(engines_of(run))
    for cause, replaced in record.REPLACES.items():
        assert cause in names
        assert set(replaced.split()) <= names
    needs = [one.needs for one in described(record) if one.needs] + list(record.NEEDS.values())
    for condition in needs:
        needed, _, wanted = condition.partition("=")
        for name in needed.split("|"):
            choices = {one.name: one.choices for one in described(record)}[name]
            assert not wanted or set(wanted.split(",")) <= set(choices), condition
    assert set(record.NEEDS) <= names


@pytest.mark.parametrize("stage", stage_names())
def test_every_condition_is_enforced(stage: str) -> None:
    """Each option with a condition that does not hold is refused, whatever its value."""
    record = record_of(run_of(stage))
    options = {one.name: one for one in described(record)}
    for cause, replaced in record.REPLACES.items():
        setting = f"{options[cause].key}=x" if cause in options else f"{cause}={VALUES[cause]}"
        for name in replaced.split():
            word = f"{options[name].key}=1" if name in options else f"{name}={VALUES[name]}"
            config = compose([f"stage={stage}", setting])
            with pytest.raises(UsageError, match="has no effect"):
                check_given(config, [f"stage={stage}", setting, word], CONF)
    for name, one in options.items():
        if one.needs and not re.search("=", one.needs) and not options[one.needs].default:
            with pytest.raises(UsageError, match=f"{one.key} has no effect: it needs {options[one.needs].key}="):
                check_given(compose([f"stage={stage}"]), [f"stage={stage}", f"{one.key}=1"], CONF)
        assert name

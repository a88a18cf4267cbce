"""Every YAML composes, and its keys are those of the function that it names."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from pathlib import Path
from typing import Any

import pytest

from deepcritic.cli.config import _check_arguments, compose, configuration_folder
from deepcritic.cli.generate import generated
from deepcritic.cli.old_names import run_of, stage_names
from deepcritic.options import described, engines_of, record_of

CONF = configuration_folder()
GROUPS = ("dataset", "task", "sampler", "scorer", "trainer")
MARKERS = {"_target_", "_partial_", "_not_hashed_", "_extends_"}


def _files(*groups: str) -> pytest.MarkDecorator:
    files = [file for group in groups for file in sorted((CONF / group).glob("*.yaml"))]
    return pytest.mark.parametrize("file", files, ids=[f"{file.parent.name}={file.stem}" for file in files])


def _plain(config: Any, *, resolve: bool = False) -> dict[str, Any]:
    from omegaconf import OmegaConf

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=resolve)  # type: ignore[assignment]
    return plain


def _function(target: str) -> Any:
    import importlib

    module, _, name = target.rpartition(".")
    assert module.startswith("deepcritic."), target
    return getattr(importlib.import_module(module), name)


def _bind(plain: dict[str, Any], place: str, *, partial: bool) -> None:
    """`plain` names a function and arguments that it takes; all that it needs, unless more come later (`_partial_`)."""
    function = _function(plain["_target_"])
    arguments = {key: value for key, value in plain.items() if key not in MARKERS}
    if "options" in inspect.signature(function).parameters:
        _bind_stage(function, arguments, place)
        return
    signature = inspect.signature(function)
    (signature.bind_partial if partial or plain.get("_partial_") else signature.bind)(**arguments)
    checked = {
        key: value for key, value in arguments.items() if not (isinstance(value, str) and ("${" in value or value == "???"))
    }
    _check_arguments(function, {key: value for key, value in checked.items() if value is not None}, place)
    for key, value in arguments.items():
        if isinstance(value, dict) and "_target_" in value:
            _bind(value, f"{place}.{key}", partial=False)


def _bind_stage(function: Any, arguments: dict[str, Any], place: str) -> None:
    known = {field.name for field in dataclasses.fields(record_of(function))} | set(engines_of(function))
    assert arguments.keys() <= known, place
    for name in engines_of(function):
        if isinstance(arguments.get(name), dict) and "_target_" in arguments[name]:
            _bind(arguments[name], f"{place}.{name}", partial=False)


def test_the_bare_configuration_composes() -> None:
    config = compose([])
    assert config.seed == 0
    assert config.stage is None


def test_every_stage_has_its_file() -> None:
    assert {file.stem for file in (CONF / "stage").glob("*.yaml")} == set(stage_names())


@pytest.mark.parametrize("file", generated(), ids=lambda file: file.name)
def test_what_is_made_from_the_records_is_up_to_date(file: Path) -> None:
    written = file.read_text("utf-8") if file.is_file() else None
    assert written == generated()[file], f"run scripts/options: {file} is out of date"


@_files("stage")
def test_a_stage_has_the_options_of_its_record(file: Path) -> None:
    plain = _plain(compose([f"stage={file.stem}"]).stage)
    run = run_of(file.stem)
    record = record_of(run)
    first, second, *others = inspect.signature(run).parameters.values()
    assert (first.name, second.name) == ("folder", "options")
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in others), "run(folder, options, *, ...)"
    assert {field.name for field in dataclasses.fields(record)} | set(engines_of(run)) == plain.keys() - MARKERS
    assert record.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(one.text and one.group for one in described(record))
    for one in described(record):
        if not one.top and not one.required:
            assert plain[one.name] == one.default, one.name


def test_no_function_of_a_stage_takes_many_parameters() -> None:
    for stage in stage_names():
        module = inspect.getmodule(run_of(stage))
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == f"deepcritic.stages.{stage}":
                assert len(inspect.signature(function).parameters) <= 12, f"{stage}.{name}"


@_files("stage")
def test_a_stage_passes_on_what_stands_for_itself(file: Path) -> None:
    """`seed=`, `model=` and their like are given once, at the top."""
    config = compose([f"stage={file.stem}", "seed=41"])
    plain, top = _plain(config.stage), _plain(compose([])).keys() - {"stage"}
    for key in plain.keys() & top:
        assert plain[key] == f"${{{key}}}", f"{file}: {key}"


@_files(*GROUPS)
def test_a_group_binds_to_what_it_names(file: Path) -> None:
    group = {"dataset": "source"}.get(file.parent.name, file.parent.name)
    plain = _plain(compose([f"{group}={file.stem}"])[group])
    if "_target_" in plain:
        _bind(plain, group, partial=False)


@_files("experiment")
def test_an_experiment_composes_in_every_stage(file: Path) -> None:
    config = compose([f"experiment={file.stem}"])
    lines = [str(line) for line in config.pipeline or []]
    assert lines or config.stage is not None, "an experiment names a stage or a pipeline"
    for line in lines:
        stage = compose(shlex.split(line.replace("{run}", "mine"))).stage
        assert stage is not None, line
        _bind(_plain(stage), "stage", partial=True)


@_files("debug")
def test_a_debug_setting_composes_with_every_stage(file: Path) -> None:
    for stage in sorted((CONF / "stage").glob("*.yaml")):
        compose([f"stage={stage.stem}", f"debug={file.stem}"])


@_files("stage", "experiment")
def test_the_first_comment_says_what_it_is(file: Path) -> None:
    comments = [line for line in file.read_text("utf-8").splitlines() if line.startswith("# ") and "@package" not in line]
    assert comments, f"{file}: the listing of --help shows the first comment"

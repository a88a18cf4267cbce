"""`--help` in general, for each stage and each experiment: from the records, and without the libraries that work needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

import deepcritic
from deepcritic.cli.config import configuration_folder
from deepcritic.cli.generate import page
from deepcritic.cli.help import LISTED, choices, general
from deepcritic.cli.old_names import run_of, stage_names
from deepcritic.options import described, engines_of, record_of, value_text

Command = Callable[..., Any]
EXPERIMENTS = [one.name for one in choices("experiment")]


@pytest.mark.parametrize("stage", stage_names())
def test_a_stage_shows_every_option_with_type_default_and_a_line(command: Command, stage: str) -> None:
    outcome = command(f"stage={stage}", "--help")
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.split())
    for one in described(record_of(run_of(stage))):
        default = "" if one.required else value_text(one.default)
        assert f" {one.key}={default} " in text, one.key
        assert " ".join(one.text.split()) in text, one.key
        assert f"\n{one.group}\n" in outcome.out
    for engine in engines_of(run_of(stage)):
        assert f"\n{engine}=" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 130 or stage == "evaluate"  # a heading of a group may be longer


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_shows_what_it_runs_and_its_settings(command: Command, experiment: str) -> None:
    outcome = command(f"experiment={experiment}", "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert "\nruns\n" in outcome.out
    several = yaml.safe_load((configuration_folder() / "experiment" / f"{experiment}.yaml").read_text("utf-8")).get("pipeline")
    for line in several or []:
        assert f"\n  python -m deepcritic {line.strip()}\n" in outcome.out
    assert ("\nsettings\n" in outcome.out) == (several is None)


def test_the_settings_of_an_experiment_stand_in_the_options(command: Command) -> None:
    outcome = command("experiment=microworld/rl", "--help")
    assert "  stage.max_tokens=200 " in outcome.out
    assert "  stage.learning_rate=0.0001 " in outcome.out


def test_the_options_of_the_chosen_engine_are_shown(command: Command) -> None:
    assert "sampler.gpu_memory_utilization=0.9" in command("stage=solve", "sampler=vllm", "--help").out
    assert "trainer.lora_rank=16" in command("stage=sft", "trainer=qlora", "--help").out
    assert "trainer.lora_alpha=32" in command("stage=sft", "trainer=qlora", "--help").out


def test_the_general_help_lists_every_group() -> None:
    text = general()
    for group, heading in LISTED:
        assert choices(group)
        assert f"\n{heading}\n" in text
        for one in choices(group):
            assert f"\n  {one.name} " in text, one


def test_the_page_and_the_help_have_the_same_words() -> None:
    content = page()
    for stage in stage_names():
        for one in described(record_of(run_of(stage))):
            assert f"| `{one.key}` |" in content
            assert one.text.replace("|", "\\|") in content


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stage=evalute", "--help"], "unknown stage=evalute; did you mean evaluate?"),
        (["experiment=dmo", "-h"], "did you mean demo?"),
    ],
)
def test_help_for_what_is_not_there(command: Command, words: list[str], said: str) -> None:
    outcome = command(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err


def test_the_version(command: Command) -> None:
    assert command("--version").out == f"deepcritic {deepcritic.__version__}\n"


def test_help_loads_neither_hydra_nor_an_engine() -> None:
    heavy = ("hydra", "omegaconf", "torch", "transformers", "trl", "vllm", "ray", "datasets", "accelerate", "matplotlib")
    stages = "; ".join(f"main(['stage={stage}', '--help'])" for stage in stage_names())
    program = f"from deepcritic.__main__ import main; import sys; {stages}; main(['experiment=demo', '--help']); "
    program += f"print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0
    assert done.stderr == "[]\n"


def test_every_file_of_a_listed_group_says_what_it_is() -> None:
    for group, _ in LISTED:
        for one in choices(group):
            assert one.text, f"{group}={one.name}: the first comment of its file"

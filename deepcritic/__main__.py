"""The command line: `python -m deepcritic stage=evaluate ...`. Only this file uses a DictConfig."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic import __version__
from deepcritic.cli.completion import completions, script
from deepcritic.cli.config import build, compose, configuration_folder, shrink, target_name
from deepcritic.cli.help import of_command
from deepcritic.cli.interrupts import CLOSED, TERMINATED, Terminated, reader_is_gone, termination_raises
from deepcritic.cli.log_lines import logged_lines
from deepcritic.cli.old_names import old_names, translated
from deepcritic.cli.terminal import VisibleOutput
from deepcritic.cli.unused_options import check_given, is_read, names_read
from deepcritic.errors import DeepCriticError, InputError, Stopped, UsageError
from deepcritic.extras import EXTRA_OF, missing, require_for_stages

QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
LEADER_SECONDS = 10
"""How long a training process waits with an error that the leader prints: the launcher stops all when the first one ends."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 (input), 2 (command line), 3 (incomplete), 130 or 143 (stopped), 141 (output
    pipe closed)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] == "help" or {"-h", "--help"} & set(given):
        return _say(lambda: of_command([word for word in given if word not in {"help", "-h", "--help"}]))
    if given[0] in {"--version", "--completion", "--complete"}:
        return _say(lambda: _about(*given))
    if given[0] == "serve":
        given = _serve(given[1:])
    debug = "debug=true" in given
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    follows = int(os.environ.get("RANK") or 0) > 0  # one of several training processes
    try:
        with (
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stdout(nowhere if follows else VisibleOutput(sys.stdout)),
            termination_raises(),
            logged_lines(),
        ):
            _start([word for word in given if word not in {"debug=true", "debug=false"}])
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        by = " by SIGTERM" if isinstance(error, Terminated) else ""
        kept = "" if {"serve", "stage=serve"} & {*given} else "; completed work is kept; rerun the same command to resume"
        print(f"\nstopped{by}{kept}", file=sys.stderr)
        return TERMINATED if by else 130
    except Stopped as report:
        print(report)
        return report.exit_code
    except DeepCriticError as error:
        if debug:
            raise
        if follows and isinstance(error, InputError | UsageError):  # the leader prints the same
            time.sleep(LEADER_SECONDS)
        else:
            print(f"error: {_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if debug or package not in EXTRA_OF:
            raise
        print(f"error: {missing(package, purpose='this command')}", file=sys.stderr)
        return UsageError.exit_code
    except OSError as error:
        if debug or error.errno is None:
            raise
        if isinstance(error, BrokenPipeError) and reader_is_gone():
            return CLOSED
        place = f"{error.filename}: " if error.filename else ""
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        mend = "free space" if full else "fix this (debug=true shows the traceback)"
        print(
            f"error: {place}{error.strerror}; completed work is kept; {mend} and rerun the same command",
            file=sys.stderr,
        )
        return 1
    return 0


def _say(text: Callable[[], str]) -> int:
    try:
        print(text(), end="", flush=True)
    except UsageError as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # as in `--help | head`
        return CLOSED if reader_is_gone() else 1
    return 0


def _about(option: str, *values: str) -> str:
    if option == "--version":
        return f"deepcritic {__version__}\n"
    if option == "--completion":
        return script(values[0] if values else "")
    return "".join(f"{word}\n" for word in completions(" ".join(values)))


def _serve(words: list[str]) -> list[str]:
    """Translate `serve port=80` to stage options; each service gets its own name, so several can run at once."""
    import yaml

    stage: dict[str, Any] = yaml.safe_load((configuration_folder() / "stage" / "serve.yaml").read_text("utf-8"))
    own = {name for name, value in stage.items() if not str(value).startswith("${")}
    mapped = [f"stage.{word}" if word.partition("=")[0] in own else word for word in words]
    return ["stage=serve", f"name=p{os.getpid()}", *mapped]


def run_stage(config: Any) -> Any:
    """Open the stage's run folder, run the stage and return its result."""
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    from deepcritic.runs.budget import Limits
    from deepcritic.runs.folder import RunFolder

    try:
        plain: dict[str, Any] = OmegaConf.to_container(config.stage, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except MissingMandatoryValue as error:
        raise UsageError(f"missing option: {_missing(str(error))}") from None
    except OmegaConfBaseException as error:
        raise UsageError(_one_line(error)) from None
    if not isinstance(config.overwrite, bool):
        raise UsageError(f"overwrite: not a boolean; found {config.overwrite!r}; expected true or false")
    if not isinstance(config.runs, str):
        raise UsageError(f"runs: not a folder; found {config.runs!r}; expected the folder of all runs")
    require_for_stages(_stage_name(config))
    shrink(plain, OmegaConf.to_container(config.most))  # type: ignore[arg-type]
    given = {name: config[name] for name in ("max_cost", "dry_run", "probe")}
    limits = Limits.read({**given, "price": OmegaConf.to_container(config.price)})
    path, stage = _folder(config), _stage_name(config)
    call = build(plain, as_partial=True)
    if limits.trial and "sampler" not in plain and not (limits.dry_run and "trainer" in plain):
        print(f"stage={stage} sends no requests")
        return None
    if int(os.environ.get("WORLD_SIZE") or 1) > 1 and "trainer" not in plain:
        raise UsageError(f"stage={stage} runs in one process, but WORLD_SIZE is set; start it without accelerate launch")
    follows = int(os.environ.get("RANK") or 0) > 0
    renamed = {old.removeprefix("stage."): new.removeprefix("stage.") for old, new in old_names(stage).items()}
    with RunFolder(
        path, stage=stage, config=plain, overwrite=config.overwrite, limits=limits, follows=follows, renamed=renamed
    ) as folder:
        return call(folder)


def _folder(config: Any) -> Path:
    from deepcritic.runs.folder import stage_folder

    run, name = (None if value is None else str(value) for value in (config.run, config.name))
    return stage_folder(config.runs, run or "", _stage_name(config), name)


def _stage_name(config: Any) -> str:
    return target_name(config.stage)[0].rpartition(".")[2]


def _start(overrides: list[str]) -> None:
    words = [word for word in overrides if word not in {"show_config=true", "show_config=false"}]
    words = translated(words, configuration_folder())
    config = compose(words)
    check_given(config, words, configuration_folder())
    if "show_config=true" in overrides:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return
    if config.pipeline is not None:
        _run_pipeline(config, [word for word in overrides if word.startswith("debug=")])
        return
    if config.stage is None:
        raise UsageError("no stage is given; set stage=STAGE or experiment=EXPERIMENT (see python -m deepcritic --help)")
    run_stage(config)


def _run_pipeline(config: Any, debug: list[str]) -> None:
    """Run several stages in this process. A line is a command line; `{run}` stands for the run folder."""
    import shlex

    from omegaconf import OmegaConf

    from deepcritic.runs.manifest import read_manifest

    if config.dry_run or config.probe is not None:
        raise UsageError("dry_run= and probe= work only for a single stage, as the stages of an experiment depend on each other")
    common = [f"runs={config.runs}", f"run={config.run}", f"seed={config.seed}", f"overwrite={config.overwrite}".lower()]
    common += debug
    common += [f"price.{name}={value}" for name, value in config.price.items() if value or (name == "cached" and value == 0)]
    left = config.max_cost
    lines = [shlex.split(str(line).replace("{run}", f"{config.runs}/{config.run}")) for line in config.pipeline]
    stages = [compose([*words, *common]) for words in lines]
    require_for_stages(*dict.fromkeys(map(_stage_name, stages)))  # before the first one runs
    for words, stage in zip(lines, stages, strict=True):
        check_given(stage, words, configuration_folder())
        more = common if left is None else [*common, f"max_cost={left}"]
        read = names_read(OmegaConf.to_container(stage, resolve=False))  # type: ignore[arg-type]
        shown = [word for word in more if word not in {"runs=runs", "seed=0", "overwrite=false"}]
        shown = [word for word in shown if is_read(word.partition("=")[0], read)]
        print(f"\n$ python -m deepcritic {shlex.join([*words, *shown])}", flush=True)
        stage.max_cost = left
        run_stage(stage)
        if left is not None:
            manifest = read_manifest(_folder(stage))
            left = max(0.0, left - (manifest.cost or 0.0 if manifest else 0.0))


def _missing(message: str) -> str:
    key = re.search(r"full_key: (\S+)", message)
    return f"{key.group(1)}=..." if key else _one_line(message)


def _one_line(error: object) -> str:
    text = "".join(character if character.isprintable() else " " for character in str(error))
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())

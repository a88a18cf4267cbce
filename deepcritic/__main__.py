"""The command line: `python -m deepcritic stage=evaluate ...`. The only file that sees a DictConfig."""

from __future__ import annotations

import contextlib
import difflib
import errno
import functools
import importlib
import inspect
import os
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

from deepcritic.errors import DeepCriticError, InputError, Stopped, UsageError
from deepcritic.extras import EXTRA_OF, missing, require_for_stages

USAGE = """\
deepcritic: make critics of step-by-step mathematical reasoning, measure them and put them to work

usage: python -m deepcritic stage=STAGE [option=value ...]
       python -m deepcritic experiment=EXPERIMENT [option=value ...]

stages
{stages}

experiments (a run of several stages, or the settings of one result)
{experiments}

examples
  python -m deepcritic experiment=demo run=demo seed=7
  python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json model=PATH run=mine
  python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json stage.generations=ROWS.jsonl run=mine
  python -m deepcritic stage=critique input=@solution.txt model=PATH
  python -m deepcritic stage=sft model=PATH stage.dialogues=runs/mine/seed/dialogues.jsonl run=mine

options of every stage: run=NAME name=NAME runs=FOLDER seed=N overwrite=true
  debug=smoke (cut down to a minute) debug=true (tracebacks)
costs: dry_run=true (what would be sent), probe=20 (ask about 20 rows: what would the others take?),
  price.prompt=X price.completion=Y (money for a million tokens) max_cost=Z (stop before it is more)
show_config=true prints the configuration that a command stands for and does nothing.
"""

QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}

_PLAIN = (str, int, float, bool)
_NAMED: dict[Any, str] = {
    str: "a text (a number in quotes: \"'7'\")",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 (input), 2 (command line), 3 (incomplete), 130 (stopped)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] == "help" or {"-h", "--help"} & set(given):
        print(USAGE.format(stages=_listing("stage"), experiments=_listing("experiment")), end="")
        return 0
    debug = "debug=true" in given
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    follows = int(os.environ.get("RANK") or 0) > 0  # one of several processes that train together
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere if follows else sys.stdout):
            _start([word for word in given if word not in {"debug=true", "debug=false"}])
    except KeyboardInterrupt:
        print("\nstopped; what was done is kept: start the same command again to go on", file=sys.stderr)
        return 130
    except Stopped as report:
        print(report)
        return report.exit_code
    except DeepCriticError as error:
        if debug:
            raise
        if not (follows and isinstance(error, InputError | UsageError)):  # the process that leads says the same
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
        place = f"{error.filename}: " if error.filename else ""
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        mend = "make room" if full else "mend that (debug=true shows where it happened)"
        print(
            f"error: {place}{error.strerror}; what was done is kept: {mend}, then start the same command again",
            file=sys.stderr,
        )
        return 1
    return 0


def configuration_folder() -> Path:
    """`conf/`: inside the package where it was installed, beside it in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def compose(overrides: list[str]) -> Any:
    """The configuration that `overrides` stand for. Raises `UsageError`, with the nearest right word for a wrong one."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException, OverrideParseException

    for word in overrides:
        if word.startswith("-"):
            raise UsageError(f"options are written without dashes: {word.lstrip('-')}")
        if "=" not in word and not word.startswith("~"):
            raise UsageError(f"{word!r} is not of the form option=value; see python -m deepcritic --help")
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(configuration_folder().resolve())):
            return hydra_compose("config", overrides=overrides)
    except OverrideParseException as error:
        written = error.override
        raise UsageError(
            f'{written!r} cannot be read; put the value into quotes that the shell leaves in place: "{_quoted(written)}"'
        ) from None
    except HydraException as error:
        message = str(error)
    raise UsageError(_nearest(message, overrides))


def run_stage(config: Any) -> Any:
    """Open the stage's run folder and run the stage; returns what it returns."""
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    from deepcritic.runs.budget import Limits
    from deepcritic.runs.folder import RunFolder

    try:
        plain: dict[str, Any] = OmegaConf.to_container(config.stage, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except MissingMandatoryValue as error:
        raise UsageError(f"an option is missing: {_missing(str(error))}") from None
    except OmegaConfBaseException as error:
        raise UsageError(_one_line(error)) from None
    if not isinstance(config.overwrite, bool):
        raise UsageError(f"overwrite: not a yes or no; found {config.overwrite!r}; expected true or false")
    require_for_stages(_stage_name(config))
    shrink(plain, OmegaConf.to_container(config.most))  # type: ignore[arg-type]
    given = {name: config[name] for name in ("max_cost", "dry_run", "probe")}
    limits = Limits.read({**given, "price": OmegaConf.to_container(config.price)})
    path, stage = _folder(config), _stage_name(config)
    call = build(plain, as_partial=True)
    if not isinstance(config.runs, str) and "runs" not in plain:
        raise UsageError(f"runs: not a folder; found {config.runs!r}; expected the folder that holds the runs")
    if limits.trial and "sampler" not in plain and not (limits.dry_run and "trainer" in plain):
        print(f"stage={stage} asks no model: nothing would be sent")
        return None
    if int(os.environ.get("WORLD_SIZE") or 1) > 1 and "trainer" not in plain:
        raise UsageError(f"stage={stage} runs in one process: start it without accelerate launch (WORLD_SIZE is set)")
    follows = int(os.environ.get("RANK") or 0) > 0
    with RunFolder(path, stage=stage, config=plain, overwrite=config.overwrite, limits=limits, follows=follows) as folder:
        return call(folder)


def shrink(options: dict[str, Any], most: dict[str, float]) -> None:
    """Cut a stage's options down to `most`, in place. Names may be dotted; null and negative numbers are no limit.

    >>> options = {"steps": 100, "limit": None, "source": {"count": 5}}
    >>> shrink(options, {"steps": 2, "limit": 24, "source.count": 24, "epochs": 1})
    >>> options
    {'steps': 2, 'limit': 24, 'source': {'count': 5}}
    """
    for name, limit in most.items():
        *place, key = name.split(".")
        part: Any = options
        for word in place:
            part = part.get(word) if isinstance(part, dict) else None
        if isinstance(part, dict) and key in part:
            value = part[key]
            part[key] = limit if value is None or value < 0 else min(value, limit)


def _folder(config: Any) -> Path:
    from deepcritic.runs.folder import stage_folder

    run, name = (None if value is None else str(value) for value in (config.run, config.name))
    root = config.runs if isinstance(config.runs, str) else "runs"  # runs=[A,B] says what to compare, not where runs stand
    return stage_folder(root, run or "", _stage_name(config), name)


def _stage_name(config: Any) -> str:
    return str(config.stage._target_).split(".")[-2]


def build(value: Any, *, as_partial: bool = False, place: str = "stage") -> Any:
    """What a configuration stands for: `_target_` is called with the other keys, or bound to them (`_partial_`).

    Only this package's functions can be named, and exceptions come through as they are. A key that the function does not
    take, or whose value is of another type, is a `UsageError` that names the option (`place` and the key).
    """
    if isinstance(value, list):
        return [build(item, place=place) for item in value]
    if not isinstance(value, dict):
        return value
    arguments = {
        key: build(item, place=key if place == "stage" else f"{place}.{key}")
        for key, item in value.items()
        if key not in {"_target_", "_partial_", "_not_hashed_"}
    }
    if "_target_" not in value:
        return arguments
    module, _, name = str(value["_target_"]).rpartition(".")
    if not module.startswith("deepcritic."):
        raise UsageError(f"_target_ must name something of deepcritic; found {value['_target_']!r}")
    function = getattr(importlib.import_module(module), name)
    _check_arguments(function, arguments, place)
    return functools.partial(function, **arguments) if as_partial or value.get("_partial_") else function(**arguments)


def _check_arguments(function: Any, arguments: dict[str, Any], place: str) -> None:
    parameters = inspect.signature(function).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except NameError:  # a type that is imported for the type checker only
        hints = {}
    for name, value in arguments.items():
        if name not in parameters and not open_ended:
            raise UsageError(f"there is no option {place}.{name}{_offer(name, [key for key in parameters if key != 'folder'])}")
        hint = hints.get(name, Any)
        kinds = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
        if Any in kinds or isinstance(value, dict | list) or (value is not None and not isinstance(value, _PLAIN)):
            continue
        if not kinds & ({type(value), float} if type(value) is int else {type(value)}) and (
            value is None or kinds <= _NAMED.keys()
        ):
            right = " or ".join(sorted(_NAMED.get(kind, "something") for kind in kinds))
            raise UsageError(f"{place}.{name}: of another type; found {value!r}; expected {right}")


def _quoted(written: str) -> str:
    name, _, value = written.partition("=")
    return f"{name}='{value}'"


def _start(overrides: list[str]) -> None:
    config = compose([word for word in overrides if word not in {"show_config=true", "show_config=false"}])
    if "show_config=true" in overrides:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return
    if config.pipeline is not None:
        _run_pipeline(config, [word for word in overrides if word.startswith("debug=")])
        return
    if config.stage is None:
        raise UsageError("no stage is named: give stage=STAGE or experiment=EXPERIMENT; see python -m deepcritic --help")
    run_stage(config)


def _run_pipeline(config: Any, debug: list[str]) -> None:
    """Run one stage after the other in this process. A line is what one would type, but for `{run}`, the run's folder."""
    import shlex

    from deepcritic.runs.folder import manifest_of

    if config.dry_run or config.probe is not None:
        raise UsageError("dry_run= and probe= are for one stage: the stages of an experiment read what earlier ones wrote")
    common = [f"runs={config.runs}", f"run={config.run}", f"seed={config.seed}", f"overwrite={config.overwrite}".lower()]
    common += debug
    common += [f"price.{name}={value}" for name, value in config.price.items() if value or (name == "cached" and value == 0)]
    left = config.max_cost
    lines = [shlex.split(str(line).replace("{run}", f"{config.runs}/{config.run}")) for line in config.pipeline]
    stages = [compose([*words, *common]) for words in lines]
    require_for_stages(*dict.fromkeys(map(_stage_name, stages)))  # before the first of them runs
    for words, stage in zip(lines, stages, strict=True):
        more = common if left is None else [*common, f"max_cost={left}"]
        shown = [word for word in more if word not in {"runs=runs", "seed=0", "overwrite=false"}]
        print(f"\n$ python -m deepcritic {shlex.join([*words, *shown])}", flush=True)
        stage.max_cost = left
        run_stage(stage)
        if left is not None:
            left = max(0.0, left - (manifest_of(_folder(stage)) or {}).get("cost", 0.0))


def _listing(group: str) -> str:
    lines = []
    folder = configuration_folder() / group
    for file in sorted(folder.rglob("*.yaml")):
        first = file.read_text("utf-8").splitlines()[0] if file.stat().st_size else ""
        comments = [line for line in file.read_text("utf-8").splitlines() if line.startswith("# ") and "@package" not in line]
        lines.append(f"  {file.relative_to(folder).with_suffix('').as_posix():<22} {(comments or [first])[0].removeprefix('# ')}")
    return "\n".join(lines) or "  (none)"


def _nearest(message: str, overrides: list[str]) -> str:
    group = re.search(r"[Cc]ould not find '([^']+)/([^'/]*)'", message)
    if group:
        options = sorted(file.stem for file in (configuration_folder() / group.group(1)).glob("*.yaml"))
        return f"there is no {group.group(1)}={group.group(2)}{_offer(group.group(2), options)}"
    key = re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", message)
    if key:
        wrong = (key.group(1) or key.group(2)).removeprefix("++").removeprefix("+")
        known = _known_keys([word for word in overrides if not word.lstrip("+").startswith(wrong)])
        return f"there is no option {wrong}{_offer(wrong, known)}"
    return message


def _known_keys(overrides: list[str]) -> list[str]:
    from omegaconf import OmegaConf

    from deepcritic.runs.folder import flatten

    try:
        config = compose(overrides)
    except UsageError:
        return []
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    return sorted(flatten(plain))


def _offer(wrong: str, options: list[str]) -> str:
    close = difflib.get_close_matches(wrong, options, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are: {', '.join(options)}" if options else ""


def _missing(message: str) -> str:
    key = re.search(r"full_key: (\S+)", message)
    return f"{key.group(1)}=..." if key else _one_line(message)


def _one_line(error: object) -> str:
    text = "".join(character if character.isprintable() else " " for character in str(error))
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())

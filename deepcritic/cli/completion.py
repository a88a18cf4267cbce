"""Tab completion for bash, zsh and fish: `python -m deepcritic --completion bash`.

    eval "$(python -m deepcritic --completion bash)"       # in ~/.bashrc; zsh alike, in ~/.zshrc
    python -m deepcritic --completion fish | source        # in config.fish

The scripts call `--complete LINE`, which offers stages, experiments, options and group names, and files as values of other
options.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from deepcritic.cli.config import configuration_folder
from deepcritic.cli.help import choices, folder_of, settings
from deepcritic.cli.old_names import parts, run_of, stage_of
from deepcritic.cli.unused_options import COMMON, SPENDING
from deepcritic.errors import UsageError
from deepcritic.options import described, engines_of, record_of

_BASH = """\
_deepcritic() {
    local ask=("$1") word found
    [[ "$1" == *python* ]] && { [[ "${COMP_WORDS[1]} ${COMP_WORDS[2]}" == "-m deepcritic" ]] || return; ask+=(-m deepcritic); }
    COMPREPLY=()
    while IFS= read -r found; do COMPREPLY+=("$found"); done \\
        < <("${ask[@]}" --complete "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    word="${COMP_LINE:0:COMP_POINT}"; word="${word##* }"
    # readline replaces what follows the last of its word breaks
    if [[ "$word" == *[=:]* ]]; then
        local head="${word%"${word##*[=:]}"}" at
        for at in "${!COMPREPLY[@]}"; do COMPREPLY[at]="${COMPREPLY[at]#"$head"}"; done
    fi
}
complete -o nospace -F _deepcritic deepcritic
complete -o nospace -o bashdefault -o default -F _deepcritic python python3
"""
_ZSH = """\
_deepcritic() {
    local -a found
    found=("${(@f)$(deepcritic --complete "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -- ${found:#}
}
compdef _deepcritic deepcritic
"""
_FISH = """\
complete -c deepcritic -f -a '(deepcritic --complete (commandline -cp | string collect) 2>/dev/null)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str) -> str:
    """The script that enables completion. Raises `UsageError` for other shells."""
    if shell not in SCRIPTS:
        raise UsageError(f"--completion: unknown shell; found {shell!r}; expected {', '.join(SCRIPTS)}")
    return SCRIPTS[shell]


def completions(line: str) -> list[str]:
    """Completions for the last word of a command line.

    >>> completions("deepcritic stage=eva")
    ['stage=evaluate']
    >>> completions("deepcritic stage=label stage.ru")
    ['stage.rule=']
    """
    words = line.split()[1:] if line.endswith(" ") else line.split()[1:-1]
    current = "" if line.endswith(" ") else (line.split() or [""])[-1]
    _, name, equals, value = parts(current)
    found = _values(name, value, words) if equals else _names(words)
    return [word for word in found if word.startswith(current)]


def _names(words: list[str]) -> Iterator[str]:
    given = {name for _, name, _, _ in map(parts, words)}
    stage = stage_of(words, configuration_folder())
    names = ["stage", "experiment", "debug", "show_config", *COMMON]
    if stage is not None:
        run = run_of(stage)
        names += [one.key for one in described(record_of(run))]
        chosen = {name: value for _, name, _, value in map(parts, words)}
        for group in engines_of(run):
            file = folder_of(group) / f"{chosen.get(group, '')}.yaml"
            names += [group, *(f"{group}.{one.key}" for one in (settings(file) if file.is_file() else ()))]
    names += [one.key for one in settings(configuration_folder() / "config.yaml") if one.key.split(".")[0] in SPENDING]
    yield from (f"{name}=" for name in sorted(set(names) - given - {"most"}))
    if not words:
        yield from ("--help", "--version", "--completion")


def _values(name: str, value: str, words: list[str]) -> Iterator[str]:
    stage = stage_of(words, configuration_folder())
    options = {one.key: one for one in described(record_of(run_of(stage)))} if stage else {}
    if folder_of(name).is_dir() and "." not in name:
        yield from (f"{name}={one.name}" for one in choices(name))
    elif name in options and options[name].choices:
        yield from (f"{name}={choice}" for choice in options[name].choices)
    elif name in {"overwrite", "dry_run", "show_config"} or (name in options and options[name].type == "bool"):
        yield from (f"{name}={choice}" for choice in ("true", "false"))
    else:
        yield from (f"{name}={path}" for path in _paths(value))


def _paths(start: str) -> Iterator[str]:
    """Files and folders whose name begins with `start`; a leading `@` or `[` is kept."""
    sign = start[:1] if start[:1] in {"@", "["} else ""
    folder, beginning = os.path.split(start.removeprefix(sign))
    try:
        entries = sorted(Path(folder or ".").expanduser().iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(beginning) and (beginning or not entry.name.startswith(".")):
            place = start.removeprefix(sign).removesuffix(beginning)
            yield f"{sign}{place}{entry.name}{'/' if entry.is_dir() else ''}"

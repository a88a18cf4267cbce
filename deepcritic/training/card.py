"""The model card of a trained model: training data, settings, results and licence.

write_card(folder, base="Qwen/Qwen2.5-7B-Instruct", method="SFT", data={"dialogues": "4,512 rows"}, facts={"steps": 210})
push_model(folder, "ORG/NAME")       # the model, its tokenizer and the card, in a folder or on the hub
"""

from __future__ import annotations

import functools
import json
import logging
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import yaml

from deepcritic.hub import publishing
from deepcritic.hub.models import find_model
from deepcritic.runs.folder import RunFolder, package_version
from deepcritic.runs.jsonl import replacing
from deepcritic.training.checkpoints import MODEL, best_of

LOG = logging.getLogger(__name__)

README: Final = "README.md"
_NOT_TOLD: Final = ("model", "push", "dialogues", "examples", "validation_examples", "generations")
"""Settings that are local paths. The card gives hashes of their content instead."""
_PLANNING: Final = ("mfu", "tflops", "devices", "report_to", "_target_", "template")
_METHODS: Final = {"SFT": "sft", "GRPO": "grpo"}


def write_card(
    folder: RunFolder, *, base: str, method: str, data: Mapping[str, str], facts: Mapping[str, Any], name: str = MODEL
) -> None:
    """Write `README.md` beside the weights in `folder/name`.

    `method` is SFT or GRPO, `data` briefly describes each kind of data (sources, licences, rows), `facts` are metrics.
    """
    text = model_card(folder.path, base=base, method=method, data=data, facts=facts)
    with replacing(folder.path / name / README) as file:
        file.write(text.encode())


def model_card(run: Path, *, base: str, method: str, data: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    config = json.loads((run / "config.json").read_text("utf-8"))
    named = _base_name(base)
    license_of_base = base_license(base)
    front: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": ["en"],
        "tags": ["critique", "mathematics", "process-supervision", "deepcritic", "trl", _METHODS.get(method, method.lower())],
    }
    if "/" in named:
        front["base_model"] = named.partition("@")[0]
    front |= {"license": license_of_base} if license_of_base else {"license": "other", "license_name": "that-of-the-base-model"}
    settings = [
        (key, json.dumps(value)) for key, value in config.items()
        if value is not None and key not in _NOT_TOLD
        and not key.startswith(("_", "content of")) and not key.endswith(_PLANNING)
    ]  # fmt: skip
    contents = [(key.removeprefix("content of "), value) for key, value in config.items() if key.startswith("content of")]
    packages = [(package, _version(package)) for package in ("deepcritic", "torch", "transformers", "trl", "peft")]
    return publishing.card(front, _TEXT.format(
        method=method, base=named, license=license_of_base or "unknown: see the card of the base model",
        data=_table(("data", "what it is"), list(data.items())), contents=_table(("content of", "hash"), contents),
        figures=_table(("figure", "value"), [*((key, _shown(value)) for key, value in facts.items()), *_last(run)]),
        settings=_table(("setting", "value"), settings), packages=", ".join(" ".join(pair) for pair in packages),
    ))  # fmt: skip


def push_model(folder: Path, to: str | None) -> None:
    """Publish the model of a finished run to `to`; None does nothing."""
    if to is not None:
        place = publishing.publish(functools.partial(_lay_out, folder / MODEL), to, kind="model")
        LOG.info(f"{folder}: published to {place}")


def base_license(base: str) -> str | None:
    """The licence named in the base model's card, if the card is available."""
    path, revision = find_model(base)
    card = Path(path) / README
    if not Path(path).is_dir():
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(path, README, revision=revision)
        if not isinstance(cached, str):
            return None
        card = Path(cached)
    if not card.is_file():
        return None
    text = card.read_text("utf-8", "replace")
    front = text.removeprefix("---\n").partition("\n---")[0] if text.startswith("---\n") else ""
    try:
        facts = yaml.safe_load(front) or {}
    except yaml.YAMLError:
        return None
    found = facts.get("license") if isinstance(facts, dict) else None
    return str(found) if found else None


_TEXT: Final = """
# A critic of step-by-step mathematics

Trained with {method} from `{base}`: given a problem and a solution, it checks the solution step by step and names the
first wrong step, if there is one.

    from deepcritic import Critic
    Critic("THIS_MODEL").critique(problem, solution)

It loads with transformers and vLLM; tokenizer and chat template are included.

## Licence

That of the base model: {license}. The licences of the data may add conditions.

## Data

{data}

{contents}

## Figures

{figures}

Percent where a name begins with `eval_` and is no loss. They are of the validation rows of this training, not of a benchmark:
`stage=evaluate push=` adds those.

## Settings

{settings}

Versions: {packages}.
"""


def _base_name(base: str) -> str:
    """A hub id unchanged; of a local path only the last part."""
    path, revision = find_model(base)
    return Path(path).name if Path(path).is_dir() else f"{path}@{revision}" if revision else path


def _lay_out(model: Path, folder: Path) -> None:
    for file in sorted(model.iterdir()):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)


def _last(run: Path) -> list[tuple[str, str]]:
    """The last value of each training metric, and the best validation."""
    last: dict[str, Any] = {}
    for line in (run / "training.jsonl").read_text("utf-8").splitlines():
        last.update(json.loads(line))
    wanted = ("loss", "reward", "mean_token_accuracy", "entropy")
    rows = [(f"last {key}", _shown(value)) for key, value in last.items() if key in wanted or key in _OF_EVALUATION]
    best = best_of(run)
    return rows + [(f"best {key}", _shown(value)) for key, value in best.items()]


_OF_EVALUATION: Final = ("eval_loss", "eval_f1", "eval_maj_f1", "eval_error_accuracy", "eval_correct_accuracy", "eval_unparsed")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _version(package: str) -> str:
    if package == "deepcritic":
        return package_version()
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _table(head: tuple[str, ...], rows: list[tuple[str, str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in line) + " |" for line in lines)

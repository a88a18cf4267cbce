"""Writes results into a model card's metadata (`model-index`), in a local folder or on the hub.

check_target("org/name")               # call first: a folder, or a hub id and a token in HF_TOKEN
put_results("org/name", metrics)       # replaces results of the same tests and metrics, keeps the rest of the card
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from deepcritic.errors import InputError
from deepcritic.evaluation.published import Benchmark, published
from deepcritic.runs.jsonl import replacing

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

FIELD: Final = "push"
TOKEN: Final = "HF_TOKEN"
README: Final = "README.md"
_HUB_ID: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def check_target(target: str) -> None:
    """Raise `InputError` if results cannot be written to `target`."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError("huggingface_hub is not installed", field=FIELD, remedy="pip install 'deepcritic[datasets]'")
    if Path(target).is_dir():
        return
    if not _HUB_ID.fullmatch(target):
        raise InputError("neither a folder nor a hub id", field=FIELD, found=target, expected="a model's folder, or org/name")
    if not os.environ.get(TOKEN):
        raise InputError("no token for the hub", field=FIELD, found=target, remedy=f"set {TOKEN} in the environment")


def put_results(target: str, metrics: dict[str, Any]) -> str:
    """Write each benchmark's F1 (and Maj@k F1) into the card of `target`; returns the card's path or URL."""
    check_target(target)
    folder = Path(target)
    if folder.is_dir():
        path = folder / README
        card = _card(path.read_text("utf-8") if path.is_file() else "", target)
        _add(card, card_results(metrics), folder.resolve().name)
        with replacing(path) as file:
            file.write(str(card).encode())
        return str(path)
    return _put_on_hub(target, metrics)


def card_results(metrics: dict[str, Any]) -> list[EvalResult]:
    """One result per benchmark and score, with interval, rows and samples as the metric's arguments."""
    from huggingface_hub import EvalResult

    parts = metrics.get("benchmarks") or {metrics["benchmark"]["name"]: metrics}
    results = []
    for name, part in parts.items():
        test = published().benchmarks.get(name) or Benchmark(title=name)
        counts = {"rows": part["examples"], "samples": part["samples"]}
        for score, title in (("f1", "F1"), ("maj_f1", f"Maj@{part['samples']} F1")):
            if part.get(score) is not None:
                results.append(
                    EvalResult(
                        task_type="text-generation", task_name="Finding the first wrong step", dataset_type=test.dataset or name,
                        dataset_name=test.title, dataset_split=test.split, dataset_revision=part["benchmark"].get("revision"),
                        metric_type="f1", metric_name=title, metric_value=round(part[score], 2), verified=False,
                        metric_args={"interval_95": part[f"{score}_interval"], **counts},
                    )
                )  # fmt: skip
    return results


def _put_on_hub(name: str, metrics: dict[str, Any]) -> str:
    import httpx
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    token = os.environ[TOKEN]
    try:
        try:
            text = Path(hf_hub_download(name, README, token=token)).read_text("utf-8")
        except EntryNotFoundError:
            text = ""
        card = _card(text, name)
        _add(card, card_results(metrics), name.partition("/")[2])
        return str(card.push_to_hub(name, token=token, commit_message="Results of deepcritic"))
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        remedy = "rerun the same command later; the results are kept"
        raise InputError(f"the hub rejected the results ({reason})", field=FIELD, found=name, remedy=remedy) from None


def _card(text: str, target: str) -> ModelCard:
    from huggingface_hub import ModelCard

    try:
        return ModelCard(text if text.startswith("---") else f"---\n{{}}\n---\n{text}")
    except Exception as error:  # YAML errors, and the library's own for YAML that is not a card
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"the card cannot be read ({reason})", file=f"{target}/{README}", expected="a card with valid metadata"
        ) from None


def _add(card: ModelCard, results: list[EvalResult], model: str) -> None:
    new = {_place(result) for result in results}
    data: Any = card.data
    data.eval_results = [result for result in data.eval_results or [] if _place(result) not in new] + results
    data.model_name = data.model_name or model


def _place(result: EvalResult) -> tuple[Any, ...]:
    return result.dataset_type, result.dataset_config, result.dataset_split, result.metric_type, result.metric_name

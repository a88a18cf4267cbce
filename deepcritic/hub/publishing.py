"""Publish a data set or a model: to a folder laid out for the Hugging Face hub, or to the hub itself.

    publish(lay_out, "ORG/NAME", kind="dataset")    # uploads; the token is that of the environment, HF_TOKEN
    publish(lay_out, "./mine", kind="dataset")      # the same files in a local folder

`lay_out(folder)` writes the files: a `README.md` (the card) and the data or weights. A new repository is private; its owner
decides whether to make it public.

>>> print(card({"license": "mit", "tags": ["critique"]}, "# Mine"), end="")
---
license: mit
tags:
- critique
---
# Mine
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from deepcritic.errors import InputError, UsageError

TOKEN = "HF_TOKEN"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def local_folder(to: str) -> Path | None:
    """The folder that `to` names, or None where it names a repository `ORG/NAME` on the hub.

    A name that begins with `.`, `/` or `~`, or lies in an existing folder, is local.

    >>> local_folder("./mine"), local_folder("org/name")
    (PosixPath('mine'), None)
    """
    path = Path(to).expanduser()
    if to.startswith((".", "/", "~")) or path.is_absolute() or path.is_dir() or (path.parts and Path(path.parts[0]).is_dir()):
        return path
    if _NAME.fullmatch(to):
        return None
    raise UsageError(f"push={to} is neither a repository ORG/NAME nor a folder (folders start with ./ or /)")


def check(to: str) -> None:
    """Raise before hours of work if pushing cannot succeed: an invalid name, or a missing token."""
    if local_folder(to) is None and not os.environ.get(TOKEN):
        raise UsageError(f"push={to}: the hub needs a token; set {TOKEN} in the environment")


def publish(lay_out: Callable[[Path], None], to: str, *, kind: Literal["dataset", "model"]) -> str:
    """Write the files to a local folder, or upload them as one commit. Returns their location.

    Publishing again replaces files of the same names. Raises `InputError` if the hub refuses or cannot be reached.
    """
    check(to)
    folder = local_folder(to)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        lay_out(folder)
        return str(folder)
    with tempfile.TemporaryDirectory() as temporary:
        lay_out(Path(temporary))
        return _upload(Path(temporary), to, kind)


def card(facts: Mapping[str, Any], text: str) -> str:
    """The content of a `README.md`: `facts` as the YAML front matter that the hub reads, then `text` in Markdown."""
    front = yaml.safe_dump(dict(facts), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n{text.rstrip()}\n"


def _upload(folder: Path, name: str, kind: str) -> str:
    try:
        import httpx
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise UsageError(f"push={name}: the hub's client is not installed: pip install 'deepcritic[datasets]'") from None
    token = os.environ[TOKEN]
    api = HfApi(token=token, library_name="deepcritic")
    try:
        page = api.create_repo(name, repo_type=kind, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, repo_type=kind, commit_message="Written by deepcritic")
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:  # its own kinds derive from these
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".replace(token, "***")
        expected = "a repository that the token can write to, or push=./FOLDER to upload it yourself"
        raise InputError(f"the hub rejected the upload ({reason})", field="push", found=name, expected=expected) from None
    return str(page)

"""The models that the package ships, by name."""

from __future__ import annotations

from importlib.resources import files

SHIPPED = "deepcritic://"


def shipped_path(text: str) -> str:
    """`text` with `deepcritic://` replaced by the folder of the installed package.

    >>> from pathlib import Path
    >>> Path(shipped_path("deepcritic://microworld")).is_dir()
    True
    """
    return str(files("deepcritic").joinpath(text.removeprefix(SHIPPED))) if text.startswith(SHIPPED) else text

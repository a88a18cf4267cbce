"""Remove some layers of a small model, to retrain it as a critic smaller than its generator.

    python -m deepcritic.microworld.drop_layers deepcritic://microworld/models/base runs/small --layers 0 1 3

The embeddings and the kept layers are unchanged. Most of the model's abilities are lost until it is trained.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

from deepcritic.hub.models import load_model, load_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model of the small world")
    parser.add_argument("folder", type=Path, help="where the smaller one is written")
    parser.add_argument("--layers", type=int, nargs="+", required=True, help="the layers to keep, from 0")
    arguments = parser.parse_args()
    shrink(arguments.model, arguments.folder, arguments.layers)


def shrink(model: str, folder: Path, layers: Sequence[int]) -> Path:
    """Write `model` to `folder` with only `layers`, in the given order. Returns `folder`."""
    whole = load_model(model, dtype="float32", device="cpu")
    config = copy.deepcopy(whole.config)
    config.num_hidden_layers = len(layers)
    config.layer_types = [config.layer_types[layer] for layer in layers]
    place = {f"layers.{old}.": f"layers.{new}." for new, old in enumerate(layers)}
    small = type(whole)(config)
    state = {}
    for name, weight in whole.state_dict().items():
        before, _, rest = name.partition("layers.")
        number, _, part = rest.partition(".")
        if not rest:
            state[name] = weight
        elif f"layers.{number}." in place:
            state[before + place[f"layers.{number}."] + part] = weight
    small.load_state_dict(state)
    small.save_pretrained(folder)
    load_tokenizer(model).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()

"""A smaller model of the small world: what is kept is what was there, and what comes out is a model."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")

from deepcritic.hub.models import load_model, load_tokenizer
from deepcritic.microworld.drop_layers import shrink

BASE = "deepcritic://microworld/models/base"


def test_all_layers_in_their_order_are_the_model_itself(tmp_path: Path) -> None:
    import torch

    whole, same = (
        load_model(BASE, dtype="float32", device="cpu"),
        load_model(str(shrink(BASE, tmp_path / "same", range(4))), dtype="float32", device="cpu"),
    )
    ids = load_tokenizer(BASE)("Mod ten, from 7:\n1)*1", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.equal(whole(ids).logits, same(ids).logits)


def test_some_layers_are_fewer_parameters_and_the_same_weights(tmp_path: Path) -> None:
    import torch

    whole = load_model(BASE, dtype="float32", device="cpu")
    small = load_model(str(shrink(BASE, tmp_path / "small", (0, 1, 3))), dtype="float32", device="cpu")
    assert small.config.num_hidden_layers == 3
    layer = sum(weight.numel() for name, weight in whole.state_dict().items() if ".layers.2." in name)
    assert whole.num_parameters() - small.num_parameters() == layer > 0
    old, new = whole.state_dict(), small.state_dict()
    for name, weight in new.items():
        assert torch.equal(weight, old[name.replace(".layers.2.", ".layers.3.")])
    ids = load_tokenizer(BASE)("Mod ten, from 7:", return_tensors="pt")["input_ids"]
    assert torch.isfinite(small(ids).logits).all()

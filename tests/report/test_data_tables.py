"""Tables of what was filtered and estimated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic.report.data_tables import data_cards, data_tables
from deepcritic.runs.manifest import finished_manifests


def test_an_estimate_and_a_filter_are_shown_with_their_baselines_and_reasons(stage: Callable[..., Path]) -> None:
    rate: dict[str, Any] = {
        "rows": 400, "labels": 60, "error_rate": 52.25, "interval": [44.0, 60.5], "method": "ppi++", "weight": 0.7,
        "labels_alone": 50.0, "labels_alone_interval": [38.0, 62.0], "critic_alone": 30.0, "without_verdict": 4,
        "same_width": 120,
    }  # fmt: skip
    small = {"rows": 9, "labels": 0, "why": "none of its rows is labelled"}
    summary = {
        "in": 100, "kept": 60, "dropped": {"error": 30, "unparsed": 6}, "failed": {"too_long": 4}, "accept": 0.75,
        "kept_at": {"0.5": 70, "1": 40}, "first_errors": {"2": 30},
    }  # fmt: skip
    estimates = {
        "model": "m",
        "rows": 400,
        "labels": 60,
        "estimates": {"all rows": rate, "small": small},
        "warnings": [],
        "next": {},
    }
    run = stage("estimate", files={"metrics.json": estimates}, model="m").parent
    stage("filter.strict", files={"filter.json": summary})
    manifests = dict(finished_manifests(run))
    rates, kept = data_tables(run, manifests)
    assert rates["head"] == [
        "solutions", "rows", "labels", "with an error", "labels alone", "critic alone", "method", "worth labels", "no verdict",
    ]  # fmt: skip
    assert rates["rows"] == [
        [
            ("all rows", "estimate, m"), "400", "60", ("52.2", "44.0 to 60.5"), ("50.0", "38.0 to 62.0"), "30.0", "ppi++", "120",
            "4",
        ],
        [("small", "estimate, m"), "9", "0", ("unknown", "none of its rows is labelled"), "", "", "", "", ""],
    ]  # fmt: skip
    assert kept["head"][3:] == ["dropped: error", "dropped: unparsed", "failed: too_long", "kept at 0.5", "kept at 1"]
    assert kept["rows"] == [[("filter.strict", "accepts a share of 0.75"), "100", "60", "30", "6", "4", "70", "40"]]
    assert [card[0] for card in data_cards(run, manifests)] == ["52.2%", "60"]
    assert data_tables(run, {}) == []

"""Plots and the data behind them."""

from __future__ import annotations

import base64
import csv
import io

from deepcritic.report.draw import Plot


def test_the_data_of_a_plot_are_in_its_link() -> None:
    plot = Plot(name="x", title="x", text="x", svg="", head=("a", "b"), rows=[["=1+1", 0.123456], ['é, "q"', None]])
    content = base64.b64decode(plot.csv_link.partition("base64,")[2]).decode()
    assert list(csv.reader(io.StringIO(content))) == [["a", "b"], ["'=1+1", "0.1235"], ['é, "q"', ""]]

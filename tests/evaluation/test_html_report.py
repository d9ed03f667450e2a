"""The page of a report: whole, well formed, and free of anything from elsewhere."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from nexus_core import Item
from nexus_core.evaluation.chart import Series, bars, curves
from nexus_core.evaluation.collection import JudgedCollection, Query
from nexus_core.evaluation.html_report import render_html
from nexus_core.evaluation.report import Report, build_report
from nexus_core.evaluation.statistics import Interval
from nexus_core.evaluation.trial import Trial, TrialSettings


def report(names: list[str], budgets: tuple[int, ...] = (256, 512)) -> Report:
    """Return a report of made-up figures."""
    queries = tuple(Query(id=f"q{number}", text="?", answers=("x",)) for number in range(20))
    collection = JudgedCollection(
        name="<office>",
        queries=queries,
        relevant={query.id: {"a": 1} for query in queries},
        items=(Item(id="a", text="x"),),
        warnings=("something & more",),
    )
    random = np.random.default_rng(0)
    trials = [
        Trial(
            pipeline=name,
            figures=random.random((20, 4 + len(budgets))),
            seconds={
                "ranking": random.random((20, 1)),
                "packing": np.full((20, 1), np.nan),
                "asking": np.zeros((20, 1)),
            },
            notes=("a <note>",),
        )
        for name in names
    ]
    return build_report(collection, TrialSettings(budgets=budgets), trials)


@pytest.mark.parametrize("count", [1, 2, 9], ids=["one", "two", "more-than-colours"])
def test_a_page_has_every_pipeline_in_its_charts_and_tables(count: int) -> None:
    """Names are text, never markup, and nothing is fetched from anywhere."""
    names = [f"<b>{number}&" for number in range(count)]
    made = render_html(report(names))
    assert made.count("<svg") == 2
    assert all(f"&lt;b&gt;{number}&amp;" in made for number in range(count))
    assert "<b>" not in made
    assert re.search(r"https?:|<script|<link|@import|url\(", made) is None
    assert ("Against" in made) is (count > 1)


def test_the_parts_of_a_page_are_closed() -> None:
    """Everything between the doctype and the end is well-formed XML but for the metas."""
    made = re.sub(r"<meta [^>]*>", "", render_html(report(["a", "b", "c"]))).removeprefix("<!doctype html>")
    root = ElementTree.fromstring(made)
    assert [element.tag for element in root] == ["head", "body"]


def test_a_page_without_answer_recall_has_no_curves() -> None:
    """No budgets, no curves."""
    made = render_html(report(["a"], budgets=()))
    assert made.count("<svg") == 1
    assert "Answer recall" not in made


def test_bars_are_as_long_as_their_figures() -> None:
    """0 to 1 over 306 units; what is not known has no bar."""
    drawn = bars(["MAP"], [Series("a", [Interval(0.5, 0.4, 0.6)]), Series("b", [None])])
    assert 'width="153.0"' in drawn
    assert drawn.count("<rect") == 1


def test_curves_have_a_point_for_each_figure_that_is_known() -> None:
    """One budget is one point in the middle."""
    known = Interval(0.9, 0.8, 1.0)
    drawn = curves((256, 512, 1024), [Series("a", [known, None, known])])
    assert drawn.count("<circle") == 2
    assert curves((256,), [Series("a", [known])]).count("<circle") == 1

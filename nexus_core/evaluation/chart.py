"""Draws what was measured as inline SVG: bars with intervals, and curves over budgets.

A drawing is 360 units wide, so that its letters are readable on a phone; colours come from the page by class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import floor, log2

from attrs import frozen

from nexus_core.evaluation.statistics import Interval

COLOURS = 6
"""So many series have a colour of their own; after them colours come again, with broken lines."""
_WIDTH = 360
_BAR, _GAP, _HEAD = 13, 3, 20
_PLOT = 306
"""Where the bars' scale ends, and their figures begin."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 32, 348, 8, 190
"""The edges of the curves' field."""


@frozen
class Series:
    """The figures of one pipeline, one for each label; `None` where there is none."""

    name: str
    figures: Sequence[Interval | None]


def bars(labels: Sequence[str], series: Sequence[Series]) -> str:
    """Return a group of bars for each label, a bar for each series, each with its interval."""
    group = _HEAD + len(series) * (_BAR + _GAP) + 8
    height = len(labels) * group + 16
    parts = [_scale(height)]
    for place, label in enumerate(labels):
        top = place * group
        parts.append(f'<text class="label" x="0" y="{top + 14}">{escape(label)}</text>')
        parts += [
            _bar(number, one.name, label, one.figures[place], top + _HEAD + number * (_BAR + _GAP))
            for number, one in enumerate(series)
        ]
    return _svg(height, f"Bars: {', '.join(labels)} of each pipeline", parts)


def _scale(height: int) -> str:
    marks = (0.0, 0.25, 0.5, 0.75, 1.0)
    lines = "".join(
        f'<line class="grid" x1="{x}" x2="{x}" y1="{_HEAD}" y2="{height - 14}"/>' for x in map(_along, marks)
    )
    figures = "".join(
        f'<text class="tick" x="{_along(mark)}" y="{height - 3}" text-anchor="{_anchor(mark)}">{mark:g}</text>'
        for mark in marks
    )
    return lines + figures


def _anchor(mark: float) -> str:
    return "start" if mark == 0 else "middle"


def _along(value: float) -> float:
    return round(value * _PLOT, 1)


def _bar(number: int, name: str, label: str, figure: Interval | None, top: int) -> str:
    if figure is None:
        return ""
    middle = top + _BAR / 2
    low, high = _along(figure.low), _along(figure.high)
    return (
        f'<g class="{_class(number)}"><title>{_label_of(name, label, figure)}</title>'
        f'<rect class="fill" x="0" y="{top}" width="{_along(figure.mean)}" height="{_BAR}" rx="2"/>'
        f'<path class="whisker" d="M{low} {middle}H{high}M{low} {middle - 3}v6M{high} {middle - 3}v6"/></g>'
        f'<text class="value" x="{_WIDTH}" y="{top + 10.5}" text-anchor="end">{figure.mean:.3f}</text>'
    )


def curves(budgets: Sequence[int], series: Sequence[Series]) -> str:
    """Return a curve over budgets for each series, with its intervals; a step to the right doubles the budget."""
    lows = [figure.low for one in series for figure in one.figures if figure is not None]
    lowest = min(0.9, floor(min(lows, default=0.0) * 10) / 10)
    least = lowest if lowest >= 0.5 else floor(lowest * 5) / 5  # so that the bottom is one of the lines
    field = _Field(budgets, least)
    drawn = [_curve(number, len(series), one, field) for number, one in enumerate(series)]
    return _svg(_BOTTOM + 36, "Curves: answer recall of each pipeline over tokens of context", [*field.drawn(), *drawn])


@frozen
class _Field:
    """The field of the curves."""

    budgets: Sequence[int]
    least: float
    """What the bottom stands for; the top is 1."""

    def across(self, budget: int) -> float:
        first, last = log2(self.budgets[0]), log2(self.budgets[-1])
        share = (log2(budget) - first) / (last - first) if last > first else 0.5
        return round(_LEFT + 14 + share * (_RIGHT - _LEFT - 28), 1)

    def up(self, value: float) -> float:
        return round(_BOTTOM - (value - self.least) / (1 - self.least) * (_BOTTOM - _TOP), 1)

    def drawn(self) -> Iterator[str]:
        """Yield the lines and their figures."""
        steps = round((1 - self.least) * 10)
        every = 1 if steps <= 5 else 2
        for step in range(0, steps + 1, every):
            value = 1 - step / 10
            y = self.up(value)
            yield f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}"/>'
            yield f'<text class="tick" x="{_LEFT - 5}" y="{y + 3.5}" text-anchor="end">{value:.1f}</text>'
        for budget in self.budgets:
            x, y = self.across(budget), _BOTTOM + 15
            yield f'<text class="tick" x="{x}" y="{y}" text-anchor="middle">{budget:,}</text>'
        middle = (_LEFT + _RIGHT) / 2
        yield f'<text class="tick" x="{middle}" y="{_BOTTOM + 31}" text-anchor="middle">tokens of context</text>'


def _curve(number: int, of: int, series: Series, field: _Field) -> str:
    # A little apart, so that intervals at one budget do not hide each other.
    aside = (number - (of - 1) / 2) * min(5.0, 20 / of)
    points, marks = [], []
    for budget, figure in zip(field.budgets, series.figures, strict=True):
        if figure is None:
            continue
        x, y = round(field.across(budget) + aside, 1), field.up(figure.mean)
        points.append(f"{x},{y}")
        told = _label_of(series.name, f"{budget:,} tokens", figure)
        marks.append(
            f'<path class="whisker" d="M{x} {field.up(figure.low)}V{field.up(figure.high)}"/>'
            f'<circle class="fill" cx="{x}" cy="{y}" r="3.2"><title>{told}</title></circle>'
        )
    return f'<g class="{_class(number)}"><polyline class="curve" points="{" ".join(points)}"/>{"".join(marks)}</g>'


def _class(number: int) -> str:
    return f"s{number % COLOURS}" + (" again" if number >= COLOURS else "")


def _label_of(name: str, label: str, figure: Interval) -> str:
    return escape(f"{name}, {label}: {figure.mean:.3f} ({figure.low:.3f} to {figure.high:.3f})")


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'

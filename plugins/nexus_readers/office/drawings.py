"""Charts and SmartArt, which Word and PowerPoint keep in parts of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from nexus_core import Block, ListItem, Paragraph, Table
from nexus_readers.office.packages import Package, Relation, attribute, child, inner_text, name_of

_MOST_POINTS = 100_000
"""Points of a series: their indices are numbers of any size."""


def drawn_blocks(package: Package, element: Any, relations: Mapping[str, Relation]) -> Iterator[Block]:
    """Yield what a chart or a diagram says to which an element inside of a drawing leads."""
    name = name_of(element)
    if name == "chart":
        yield from _chart(package.optional_tree(_target(relations, attribute(element, "id"))))
    elif name == "relIds":
        yield from _diagram(package.optional_tree(_target(relations, attribute(element, "dm"))))


def _target(relations: Mapping[str, Relation], id: str) -> str:
    found = relations.get(id)
    return "" if found is None or found.is_external else found.target


def _chart(root: Any | None) -> Iterator[Block]:
    """Yield a chart as a table: its categories down, its series across."""
    if root is None:
        return
    chart = child(root, "chart")
    title = _rich_text(child(chart, "title"))
    series = [each for each in root.iter("{*}ser") if name_of(each) == "ser"]
    axes = [_rich_text(child(axis, "title")) for axis in root.iter("{*}catAx", "{*}valAx", "{*}dateAx")]
    caption = ", ".join([f"Chart: {title}" if title else "Chart", *filter(None, axes)])
    if not series:
        if title:
            yield Paragraph(text=caption)
        return
    names = [inner_text(_first(each, "tx", "v")) for each in series]
    categories = _points(_first_of(series[0], "cat", "xVal"))
    values = [_points(_first_of(each, "val", "yVal")) for each in series]
    rows = zip_longest(categories, *values, fillvalue="")
    yield Table(header=("", *names), rows=tuple(tuple(row) for row in rows), caption=caption)


def _first(element: Any | None, name: str, leaf: str) -> Any | None:
    inner = child(element, name)
    return None if inner is None else next(inner.iter("{*}" + leaf), None)


def _first_of(element: Any, *names: str) -> Any | None:
    return next((each for each in element if name_of(each) in names), None)


def _points(element: Any | None) -> list[str]:
    if element is None:
        return []
    found: dict[int, str] = {}
    for cache in element.iter("{*}numCache", "{*}strCache", "{*}numLit", "{*}strLit", "{*}lvl"):
        for point in cache:
            index = attribute(point, "idx", "0")
            if name_of(point) == "pt" and index.isdigit() and int(index[:9]) < _MOST_POINTS:
                found.setdefault(int(index[:9]), inner_text(child(point, "v")))
        if found:
            break
    return [found.get(index, "") for index in range(min(max(found, default=-1) + 1, 4 * len(found) + 100))]


def _rich_text(element: Any | None) -> str:
    if element is None:
        return ""
    paragraphs = ["".join(leaf.text or "" for leaf in each.iter("{*}t")) for each in element.iter("{*}p")]
    said = " ".join(" ".join(paragraphs).split())
    return said or inner_text(_first(element, "tx", "v"))


def _diagram(root: Any | None) -> Iterator[Block]:
    """Yield the points of a SmartArt diagram, each under the one that it belongs to."""
    if root is None:
        return
    points = {attribute(each, "modelId"): each for each in root.iter("{*}pt") if attribute(each, "modelId")}
    parents = {}
    for link in root.iter("{*}cxn"):
        if attribute(link, "type", "parOf") == "parOf":
            parents[attribute(link, "destId")] = attribute(link, "srcId")
    for id, point in points.items():
        text = _rich_text(child(point, "t"))
        if text and attribute(point, "type", "node") in ("node", "asst"):
            yield ListItem(text=text, depth=_depth(id, parents, points))


def _depth(id: str, parents: Mapping[str, str], points: Mapping[str, Any]) -> int:
    depth = 0
    while id in parents and depth < 16:
        id = parents[id]
        depth += id in points and attribute(points[id], "type", "node") != "doc"
    return depth + 1

"""Pages of shapes that only pages have cost steps, and become text, in proportion to their size."""

from __future__ import annotations

import re
from io import BytesIO

import pytest

from nexus_core.toolkit import block_text
from nexus_core.toolkit.documents.reading import DocumentReader, FileOrigin
from tests.plugins.growth import shapes
from tests.plugins.growth.steps import steps_of

pytestmark = pytest.mark.slow

SMALL = 6_500
SPARE = 1.25
SHAPES = [
    shapes.Shape("<figure><figcaption>x"),
    shapes.Shape("<sup>a"),
    shapes.Shape("<p>a 9<sup>@</sup><p><sup>@</sup> x y", numbered=True),
    shapes.Shape("<blockquote>a"),
    shapes.Shape("<a href='#fn@'>1</a><p id=fn@>x", numbered=True),
    shapes.Shape("<td rowspan=0 colspan=9>x<tr>", "<table><tr>"),
    shapes.Shape("<math><msup><mi>x</mi>"),
    shapes.Shape("<mrow>", "<math>"),
    shapes.Shape("<iframe srcdoc='<p>x'></iframe>"),
    shapes.Shape("<div class=highlight><b class=line>x"),
    shapes.Shape("<p class=c@>x", "<style>.c1{display:none}</style>", numbered=True),
    shapes.Shape(".c@{display:none}", "<style>", "</style>x", numbered=True),
    shapes.Shape("<br>", "a"),
    shapes.Shape("<ol reversed><li>x"),
]


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_steps_and_text_grow_with_a_page(shape: shapes.Shape) -> None:
    """From n to 2n and 4n characters there are no more than two and four times as many."""
    reader = DocumentReader()

    def read(size: int) -> int:
        _, blocks = reader.blocks(BytesIO(shape.text(size).encode()), FileOrigin(name="a.html"))
        return sum(len(block_text(block)) for block in blocks)

    read(SMALL)
    re.purge()
    figures = [steps_of(lambda size=size: read(size)) for size in (SMALL, 2 * SMALL, 4 * SMALL)]  # type: ignore[misc]
    for times, (steps, made) in zip((2, 4), figures[1:], strict=True):
        assert steps <= SPARE * times * figures[0][0] + 2_000
        assert made <= SPARE * times * figures[0][1] + 500

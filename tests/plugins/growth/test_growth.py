"""Input of any shape costs time, and becomes output, in proportion to its size: 40 shapes for each reader."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from io import BytesIO
from time import process_time

import pytest

from nexus_core import Item
from nexus_core.toolkit import DocumentReader, FileOrigin, ReadSettings, slug
from tests.plugins.growth.readers import READERS, Reader
from tests.plugins.growth.shapes import COUNT, Shape
from tests.plugins.growth.steps import steps_of

pytestmark = pytest.mark.slow

CASES = [
    pytest.param(reader, shape, id=f"{name}-{number}")
    for name, (reader, shapes) in READERS.items()
    for number, shape in enumerate(shapes)
]
READ = [case for case in CASES if not str(case.id).startswith("passages")]
SMALL = 6_500
"""Characters: so many make a document of several items, and what grows with the square has outgrown the rest."""
SPARE = 1.25
"""The numbers of headings get longer."""
FIRST, LAST = 2 * 1024, 128 * 1024
"""Characters at which the time is first looked at, and above which what is quick so far is not."""
LEAST_S = 0.05
MOST = 6.0
"""Four times as much may take so many times as long."""
MOST_OF_SIXTEEN = 56.0
"""Sixteen times as much: what of which a sixth grows with the square exceeds this bound, and the one above.

Between linear and this there is room for what caches and the garbage collector do.
"""
SLACK_S = 0.01
TRIES = 5


@lru_cache
def _warm(reader: Reader) -> None:
    """Read something: what is imported and remembered with the first text does not count."""
    reader("# a `b` [c](d.md)\n\n- e\n\nf\n===\n" * 400)


def seconds_of(reader: Reader, text: str) -> float:
    """Return the CPU time of this process: others on the machine do not count."""
    began = process_time()
    reader(text)
    return process_time() - began


@pytest.mark.parametrize(("reader", "shape"), READ)
def test_output_and_steps_grow_in_proportion(reader: Reader, shape: Shape) -> None:
    """From n to 2n and 4n characters there are no more than two and four times as many steps and bytes.

    A short document is one item and a long one is several, which costs more once: then n is twice as large, or four
    times.
    """
    _warm(reader)
    re.purge()

    @cache  # the next attempt looks at two of the sizes again
    def figures(size: int) -> tuple[int, int, int]:
        text = shape.text(size)
        return (*steps_of(lambda: reader(text)), len(text))

    assert any(_is_in_proportion(figures, size) for size in (SMALL, 2 * SMALL, 4 * SMALL))


def _is_in_proportion(figures: Callable[[int], tuple[int, int, int]], size: int) -> bool:
    first_steps, first_made, _ = figures(size)
    longer = ((times, *figures(times * size)) for times in (2, 4))
    return all(
        steps <= SPARE * times * first_steps + 500
        and made <= SPARE * times * first_made + 500
        and made <= 1000 * length
        for times, steps, made, length in longer
    )


@pytest.mark.parametrize(("reader", "shape"), CASES)
def test_time_grows_in_proportion(reader: Reader, shape: Shape) -> None:
    """Where n characters take 50 ms or more, 4n take at most six times that, or 16n at most 56 times that."""
    _warm(reader)
    size, taken = FIRST, seconds_of(reader, shape.text(FIRST))
    while (longer := seconds_of(reader, shape.text(4 * size))) <= MOST * taken + SLACK_S:
        size, taken = 4 * size, longer
        if size >= LAST or taken >= LEAST_S:
            return  # four times as much has taken at most six times as long at every size so far
    assert _holds_closely(reader, shape, size)


def _holds_closely(reader: Reader, shape: Shape, size: int) -> bool:
    """Tell whether it still holds where the shorter text takes 50 ms, so that nothing else has been measured."""
    while seconds_of(reader, shape.text(size)) < LEAST_S:
        size *= 2
    return _holds(reader, shape, size, 4, MOST) or _holds(reader, shape, size, 16, MOST_OF_SIXTEEN)


def _holds(reader: Reader, shape: Shape, size: int, times: int, most: float) -> bool:
    short, long = shape.text(size), shape.text(times * size)
    taken, longer = seconds_of(reader, short), float("inf")
    for _ in range(TRIES):
        longer = min(longer, seconds_of(reader, long))
        if longer <= most * taken:
            return True
        if longer > 3 * most * taken:
            return False  # nothing else on the machine makes such a difference
        taken = min(taken, seconds_of(reader, short))
    return longer <= most * taken


def test_every_reader_has_forty_shapes() -> None:
    """The lists of shapes that are known to be hard leave room for others."""
    assert {name: len(shapes) for name, (_, shapes) in READERS.items()} == dict.fromkeys(READERS, COUNT)


# What has happened


def items_of(page: str, name: str) -> list[Item]:
    document = DocumentReader(ReadSettings(links=True)).items(BytesIO(page.encode()), FileOrigin(name=name))
    return list(document.items)


def test_a_page_of_tags_that_never_end_is_read_at_once() -> None:
    """198 kB of `<a ` took more than ten minutes."""
    assert seconds_of(lambda text: len(items_of(text, "a.html")), "<a " * 66_000) < 5


@pytest.mark.parametrize("page", ["# same\n\ntext\n\n" * 25_000, "<h2>same</h2>text" * 25_000], ids=["md", "html"])
def test_equal_headings_get_ids_that_are_counted_on(page: str) -> None:
    """25,000 equal headings took 61 s; the ids are those they have always had."""
    name = "a.md" if page.startswith("#") else "a.html"
    items = items_of(page, name)
    assert [item.id for item in items[:3]] == [f"{name}#same", f"{name}#same-1", f"{name}#same-2"]
    assert len({item.id for item in items}) == 25_000


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("a.html", "<h2>Part<p>" + "word " * 12_000),
        ("a.html", f"<h2 id={'x' * 60_000}>Part</h2>" + "word " * 1_000),
        ("a.md", "# " + "word " * 12_000 + "\n\ntext " * 1_000),
        ("a.md", "# Part {#" + "x" * 60_000 + "}\n\n" + "word " * 1_000),
        ("a.py", "class " + "x" * 250 + ":\n" + "    a = 1\n" * 1_000),
    ],
    ids=["tag", "id", "heading", "name", "class"],
)
def test_no_heading_makes_an_id_or_title_that_is_too_long(name: str, page: str) -> None:
    """A page with a wrong heading tag was refused for an id of 60,566 characters; no word of it is lost now."""
    items = items_of(page, name)
    assert max(len(item.id) for item in items) <= len(name) + 1 + 80 + len("-part-12")
    assert max(len(item.title) for item in items) < 600
    assert sum(item.text.count("word") for item in items) >= page.count("word ")


def test_slugs_have_at_most_eighty_characters() -> None:
    """Ids and links are cut alike, so that a link still finds what it leads to."""
    assert slug("word " * 100) == ("word-" * 16)[:-1]
    assert slug("Sick leave?") == "sick-leave"


def test_a_heading_too_long_for_a_path_stands_in_the_text() -> None:
    """Titles repeat the beginning only."""
    page = "# " + "long " * 100 + "\n\n" + "text " * 300
    (item,) = items_of(page, "a.md")
    assert len(item.metadata["headings"][0]) <= 200
    assert item.text == "long " * 99 + "long\n\n" + ("text " * 300).strip()

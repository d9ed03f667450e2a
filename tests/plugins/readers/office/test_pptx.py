"""Presentations: slides with titles, lists, tables, charts, notes."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pptx
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from nexus_core import Block, Figure, Heading, ListItem, PageBreak, Table
from nexus_core.toolkit import ReadSettings
from tests.plugins.readers.office.office_files import content, read, remarks, texts


def made(*slides: Any) -> bytes:
    """Return a presentation whose slides these functions fill."""
    deck = pptx.Presentation()
    for fill in slides:
        fill(deck.slides.add_slide(deck.slide_layouts[1]))
    file = BytesIO()
    deck.save(file)
    return file.getvalue()


def blocks_of(*slides: Any, settings: ReadSettings | None = None) -> list[Block]:
    return read(made(*slides), "a.pptx", settings)


def titled(slide: Any) -> None:
    slide.shapes.title.text = "Results"
    slide.placeholders[1].text = "up\nby 7 %"
    slide.placeholders[1].text_frame.paragraphs[1].level = 1


def test_pptx_makes_each_slide_a_page_with_its_title() -> None:
    """Lists keep their depth; a slide without a title is called by its number."""
    found = content(blocks_of(titled, lambda slide: None))
    assert isinstance(found[0], PageBreak)
    assert isinstance(found[1], Heading)
    assert (found[1].text, found[1].place.page) == ("Results", 1)
    assert [(block.text, block.depth) for block in found if isinstance(block, ListItem)] == [("up", 1), ("by 7 %", 2)]
    assert isinstance(found[-1], Heading)
    assert (found[-1].text, found[-1].implied) == ("Slide 2", True)


def test_pptx_reads_the_notes_of_the_speaker() -> None:
    """They stand under a heading of their own below that of the slide."""

    def fill(slide: Any) -> None:
        titled(slide)
        slide.notes_slide.notes_text_frame.text = "Thank the team in Graz."

    found = content(blocks_of(fill))
    assert isinstance(found[-2], Heading)
    assert (found[-2].text, found[-2].level) == ("Notes", 2)
    assert found[-1].text == "Thank the team in Graz."  # type: ignore[attr-defined]


def test_pptx_reads_tables_groups_and_charts() -> None:
    """Merged cells stand in each place; a chart is the table of its values."""

    def fill(slide: Any) -> None:
        titled(slide)
        table = slide.shapes.add_table(2, 3, 0, 0, Inches(3), Inches(1)).table
        for at, text in enumerate(("Year", "Oslo", "Bergen", "2025", "7", "")):
            table.cell(at // 3, at % 3).text = text
        table.cell(1, 1).merge(table.cell(1, 2))
        group = slide.shapes.add_group_shape()
        group.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "in a group"
        values: Any = CategoryChartData()  # type: ignore[no-untyped-call]
        values.categories = ["Q1", "Q2"]
        values.add_series("Sales", (19.5, 20))
        chart = slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, 0, 0, 99, 99, values).chart
        chart.has_title = True
        chart.chart_title.text_frame.text = "Sales by quarter"

    found = blocks_of(fill)
    tables = [block for block in found if isinstance(block, Table)]
    assert (tables[0].header, tables[0].rows) == (("Year", "Oslo", "Bergen"), (("2025", "7", "7"),))
    assert (tables[1].caption, tables[1].header) == ("Chart: Sales by quarter", ("", "Sales"))
    assert tables[1].rows == (("Q1", "19.5"), ("Q2", "20"))
    assert "in a group" in texts(found)


def test_pptx_leaves_hidden_slides_out_and_says_so() -> None:
    """The option `hidden` reads them."""

    def fill(slide: Any) -> None:
        titled(slide)
        slide._element.set("show", "0")

    assert remarks(blocks_of(fill)) == ["slide 1 is hidden; left out (read it with `hidden: true`)"]
    settings = ReadSettings(readers={".pptx": {"hidden": True}})
    assert "Results" in texts(blocks_of(fill, settings=settings))


def test_pptx_tells_links_looks_and_alternative_texts() -> None:
    """What is raised or struck is told apart; a picture without text is reported with its slide."""

    def fill(slide: Any) -> None:
        titled(slide)
        line = slide.shapes.add_textbox(0, 0, 9, 9).text_frame.paragraphs[0]
        line.add_run().text = "10"
        power = line.add_run()
        power.text = "6"
        power.font._element.set("baseline", "30000")
        link = line.add_run()
        link.text = " form"
        link.hyperlink.address = "https://example.org/form-77"
        pixel = BytesIO(
            bytes.fromhex(
                "474946383961010001008000000000ffffff21f90401000000002c00000000010001000002014400 3b".replace(" ", "")
            )
        )
        for told in ("A plan", ""):
            slide.shapes.add_picture(pixel, 0, 0)._element.nvPicPr.cNvPr.set("descr", told)

    found = blocks_of(fill)
    assert "10^6 [form](https://example.org/form-77)" in texts(found)
    assert [block.text for block in found if isinstance(block, Figure)] == ["A plan"]
    assert remarks(found) == ["slide 1: 1 picture has no alternative text"]

"""Markdown: its blocks as GitHub shows them, front matter, notes, pictures, HTML in between."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import pytest
from hypothesis import given, settings, strategies as st
from nexus_readers.markdown.lines import plain_parts
from nexus_readers.markdown.parts import Part
from nexus_readers.markdown.reader import one_line
from nexus_readers.markdown.tokens import parsed_parts

from nexus_core import (
    Block,
    Code,
    Figure,
    Footnote,
    Formula,
    Heading,
    Item,
    ListItem,
    Metadata,
    Paragraph,
    Quotation,
    Table,
)
from nexus_core.toolkit import DocumentReader, FileOrigin
from tests.plugins.readers.generated import compare, document
from tests.plugins.readers.generated_markdown import STYLES, MarkdownPage, for_markdown

FILLER = "Filler sentences say nothing of note about the matter. " * 30


def blocks_of(text: str) -> list[Block]:
    return list(DocumentReader().blocks(BytesIO(text.encode()), FileOrigin(name="a.md"))[1])


def items_of(text: str) -> list[Item]:
    return list(DocumentReader().items(BytesIO(text.encode()), FileOrigin(name="a.md")).items)


def headings_of(text: str) -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in blocks_of(text) if isinstance(block, Heading)]


def texts_of(text: str) -> list[str]:
    return [block.text for block in blocks_of(text) if isinstance(block, Paragraph)]


# Headings

HEADINGS: dict[str, tuple[str, list[tuple[int, str]]]] = {
    "fence": ("# A\n\n```sh\n# no\n```\n\n## B\n", [(1, "A"), (2, "B")]),
    "fence in a list": ("# A\n\n1. x\n\n    ```\n    # no\n\n    # no\n    ```\n\n## B\n", [(1, "A"), (2, "B")]),
    "fence in a quotation": ("> ```\n> # no\n> ```\n\n## B\n", [(2, "B")]),
    "fence in a fence": ("````\n```\n## no\n```\n## no\n````\n## B\n", [(2, "B")]),
    "open fence": ("# A\n\n```\n## no\n", [(1, "A")]),
    "tildes": ("~~~~\n```\n# no\n~~~~\n# B\n", [(1, "B")]),
    "code by indentation": ("- a\n\n      # no\n\n# B\n", [(1, "B")]),
    "no space": ("#标题\n\n##no\n\n# B\n", [(1, "B")]),
    "two lines underlined": ("Two\nlines\n---\n\nDoc\n===\n", [(2, "Two lines"), (1, "Doc")]),
    "closing signs": ("## C# and F# ##\n\n# C#\n", [(2, "C# and F#"), (1, "C#")]),
    "markup": ("# `a_b` **bold** [link](x.md) &amp; ![alt](x) c\\_d [^1]\n", [(1, "a_b bold link & alt c_d")]),
    "comment": ("# A\n\n<!--\n## no\n-->\n\n## B\n", [(1, "A"), (2, "B")]),
    "details": ("<details>\n<summary>More</summary>\n\n## In\n\n</details>\n", [(2, "In")]),
    "HTML": ('<h1 align="center">A</h1>\n\n<h2>B</h2>\n', [(1, "A"), (2, "B")]),
    "levels": ("# A\n\n### B\n\n###### C\n\n# D\n", [(1, "A"), (3, "B"), (6, "C"), (1, "D")]),
    "CRLF": ("# A\r\n\r\n## B\r\n", [(1, "A"), (2, "B")]),
    "line separator": ("# A\u2028b\n", [(1, "A b")]),
    "rule after an address": ("[a]: b\n===\n", []),
}


@pytest.mark.parametrize(("text", "headings"), HEADINGS.values(), ids=HEADINGS.keys())
def test_headings_are_those_of_github(text: str, headings: list[tuple[int, str]]) -> None:
    """What only looks like one is text."""
    assert headings_of(text) == headings


def test_a_heading_may_name_its_place() -> None:
    """`{#name}` is where links lead to."""
    (heading,) = (block for block in blocks_of("# A *b* {#custom}\n\ntext\n") if isinstance(block, Heading))
    assert (heading.text, heading.anchor, heading.place.line) == ("A b", "custom", 1)


# Text


def test_paragraphs_are_one_line_each() -> None:
    """Lines of Chinese are joined without a space; hard breaks are spaces."""
    assert texts_of("one\ntwo  \nthree\\\nfour\n\n天気は\nよい\n") == ["one two three four", "天気はよい"]


INLINE = {
    "10<sup>6</sup> H<sub>2</sub>O": "10^6 H_2O",
    "<del>50</del> <kbd>Ctrl</kbd> a<br>b": "~~50~~ `Ctrl` a b",
    "a_b \\_c foo\\_bar 5\\$ C\\#": "a_b _c foo_bar 5$ C#",
    "&eacute; &lt;T&gt; `&amp;` List<String>": "é <T> `&amp;` List<String>",
    "see <https://a.b/c> <!-- no --> end": "see https://a.b/c end",
    '<a href="tel:+43">call</a>': "[call](tel:+43)",
    "[a][x] [x][] [x] [none]\n\n[x]: <b c.md> 'T'": "[a](<b c.md>) [x](<b c.md>) [x](<b c.md>) [none]",
    "`` a ` [x] `` [[Wiki|w]] $a_1\\_$": "`` a ` [x] `` [[Wiki|w]] $a_1\\_$",
    "**kept** _as_ written": "**kept** _as_ written",
}


@pytest.mark.parametrize(("written", "text"), INLINE.items(), ids=INLINE.keys())
def test_text_stays_as_it_is_written_but_for_what_programs_read(written: str, text: str) -> None:
    """Addresses are resolved, HTML becomes what blocks write, entities are characters."""
    assert [" ".join(text.split()) for text in texts_of(written)] == [text]


def test_lists_keep_their_marks_and_depths() -> None:
    """Numbers go on as GitHub shows them; tasks keep their boxes."""
    items = [
        (block.depth, block.marker, block.text)
        for block in blocks_of("3. a\n3. b\n   - c\n     goes on\n\n     more\n   - [x] d\n")
        if isinstance(block, ListItem)
    ]
    assert items == [(1, "3.", "a"), (1, "4.", "b"), (2, "-", "c goes on"), (2, "-", "[x] d")]
    assert texts_of("- c\n\n  more\n") == ["more"]


def test_quotations_code_and_formulas() -> None:
    """Each is a block of its own; an alert says what it is."""
    blocks = blocks_of("> [!NOTE]\n> Mind.\n\n> > deep\n\n```py x=1\na\n\nb\n```\n\n$$\nx^2\n$$\n\n```math\ny\n```\n")
    assert [(b.text, b.depth) for b in blocks if isinstance(b, Quotation)] == [("Note: Mind.", 1), ("deep", 2)]
    assert [(b.text, b.language) for b in blocks if isinstance(b, Code)] == [("a\n\nb", "py")]
    assert [b.text for b in blocks if isinstance(b, Formula)] == ["x^2", "y"]


def test_a_table_has_a_header_and_rows() -> None:
    """Escaped bars are text, short rows are filled."""
    (table,) = (
        block for block in blocks_of("| A | B |\n|---|:-:|\n| a \\| b | `c` |\n| d |\n") if isinstance(block, Table)
    )
    assert (table.header, table.rows) == (("A", "B"), (("a | b", "`c`"), ("d", "")))


def test_every_part_of_a_long_table_names_its_columns() -> None:
    """400 rows can be read by themselves."""
    rows = "".join(f"| E{number:04} | Person Number {number} | {number % 30} | Lyon |\n" for number in range(400))
    items = items_of(f"# Staff\n\n| no | full_name | days | office |\n|---|---|---|---|\n{rows}")
    assert len(items) > 3
    assert all("full_name" in item.text for item in items)


def test_notes_stand_by_their_sentence() -> None:
    """Wherever the file keeps them; one that nothing refers to comes last, and none comes twice."""
    blocks = blocks_of(
        "A.[^1] B.[^b] C.[^1]\n\nD.\n\n[^1]: One.\n[^b]: Two\n    goes on.\n\n    More[^1].\n\n[^x]: Lost.\n"
    )
    assert [(type(b).__name__, b.text) for b in blocks if isinstance(b, Footnote | Paragraph)] == [
        ("Paragraph", "A.[^1] B.[^b] C.[^1]"),
        ("Footnote", "One."),
        ("Footnote", "Two goes on. More[^1]."),
        ("Paragraph", "D."),
        ("Footnote", "Lost."),
    ]


# Pictures


@pytest.mark.parametrize(
    "text",
    [
        "Lamp yellow.\n\n![diagram](data:image/png;base64,%s)\n\nFuse nine.\n",
        "Lamp yellow. ![][p]\n\nFuse nine.\n\n[p]: <data:image/png;base64,%s>\n",
        'Lamp yellow.\n\n<img alt="diagram" src="data:image/png;base64,%s">\n\nFuse nine.\n',
    ],
    ids=["inline", "reference", "HTML"],
)
def test_pictures_written_into_the_text_are_no_text(text: str) -> None:
    """150 kB of letters fill no window; what stands before and after is one short item."""
    (item,) = items_of(f"# Manual\n\n{text % ('Tdgt+8L0' * 20_000)}")
    assert "Lamp yellow." in item.text
    assert "Fuse nine." in item.text
    assert len(item.text) < 100


def test_a_picture_says_its_alternative_text() -> None:
    """Alone it is a figure, with its title; in a sentence it stays."""
    figures = [block for block in blocks_of('![Map: exit B](map.png "To the sea")\n') if isinstance(block, Figure)]
    assert [(figure.text, figure.caption) for figure in figures] == [("Map: exit B", "To the sea")]
    assert texts_of("See ![the map](map.png) here\n") == ["See ![the map](map.png) here"]


# HTML


def test_tables_in_html_lose_their_spans_and_stay_in_one_piece() -> None:
    """Markdown ends HTML at a blank line; the table goes on."""
    (table,) = (
        block
        for block in blocks_of(
            "<table>\n<caption>C</caption>\n<tr><th>A</th><th>B</th></tr>\n\n"
            "<tr><td rowspan=2>x</td><td>1</td></tr>\n\n    <tr><td>2</td></tr>\n\n</table>\n\nafter\n"
        )
        if isinstance(block, Table)
    )
    assert (table.caption, table.header, table.rows) == ("C", ("A", "B"), (("x", "1"), ("x", "2")))


def test_html_between_blocks_becomes_blocks() -> None:
    """Lists, code, pictures and text; comments and scripts are none."""
    text = '<ol start="2"><li>a<li>b</ol>\n<pre>x\n y</pre>\n<p align="center"><img alt="Logo" src="l.png"></p>'
    blocks = blocks_of(f"<div>\n{text}\n<!-- no --><script>no()</script><p>Text <b>c</b></div>\n")
    assert [(type(b).__name__, getattr(b, "text", "")) for b in blocks[1:]] == [
        ("ListItem", "a"),
        ("ListItem", "b"),
        ("Code", "x\n y"),
        ("Figure", "Logo"),
        ("Paragraph", "Text c"),
    ]


# Front matter


def metadata_of(text: str) -> Metadata:
    return next(block for block in blocks_of(text) if isinstance(block, Metadata))


YAML = """---
title: Pump
tags: [a, b]
date: 2024-05-01
author: Ada
lang: de
owner: team heron
list:
  - x
  - y
---
"""
TOML = """+++
title = "Pump"
tags = ["a", "b"]
date = 2024-05-01
author = "Ada"
lang = "de"
owner = "team heron"
list = ["x", "y"]
+++
"""


@pytest.mark.parametrize("front", [YAML, TOML], ids=["YAML", "TOML"])
def test_front_matter_is_metadata_and_can_be_found(front: str) -> None:
    """What a person would ask for is said in a line; line numbers count from the start of the file."""
    told = metadata_of(f"{front}Hello.\n")
    assert (told.title, told.tags, told.date, told.author, told.language) == (
        "Pump",
        ("a", "b"),
        "2024-05-01",
        "Ada",
        "de",
    )
    assert told.values == {"owner": "team heron", "list": ["x", "y"]}
    said, paragraph = (block for block in blocks_of(f"{front}Hello.\n") if isinstance(block, Paragraph))
    assert said.text == "Author: Ada; Owner: team heron; List: x, y"
    assert (paragraph.text, paragraph.place.line) == ("Hello.", front.count("\n") + 1)


def test_a_description_in_the_front_matter_is_read() -> None:
    """It is a sentence about the document."""
    text = "---\nlayout: post\ndraft: true\ndescription: How to prime\n  the pump.\nowner: us\n---\nText.\n"
    assert texts_of(text) == ["How to prime the pump. Owner: us", "Text."]


@pytest.mark.parametrize(
    "start",
    ["---\n\ntext\n---\n", "---\n- a\n---\n", "---\na: [\n---\n", "---\na: b\n", "+++\na = \n+++\n", "+++\nx\n"],
)
def test_what_only_looks_like_front_matter_is_text(start: str) -> None:
    """Rules, lists and broken YAML are left where they are."""
    (item,) = items_of(start + "word\n")
    assert "word" in item.text
    assert item.tags == ()


# Two ways

_LINES = [
    "# a", "## b ##", "text", "", "", "```", "~~~", "```py", "- item", "  # c", "    # d", "> q", "> # q", "1. x", "#",
    "#x", "# `code` x", "---", "***", "===", "<div>", "<!-- c -->", "<!-- a", "--> b", "| a | b |", "|---|---|", "|--|",
    "| c \\| d | e |", "   ### e", "\tcode", "* a\n  text", "`` a ` b ``", "# a {#id}", "# *emph* b", "-", "1.", "````",
    "    ```", "2. y", "3) z", "+ plus", "text  ", "a | b", "--- | ---", ":-:", "[a]: b", "[^1]: note", "- [ ] task",
    "  more", "1986. A year", "-foo", "- - x", "- # x", "-     code", "text\\", "* * *", "__x__", "##\t tab",
]  # fmt: skip


def comparable(parts: list[Part]) -> list[Part]:
    lines = [
        part._replace(underlined=False, text=one_line(part.text) if part.kind in ("text", "heading") else part.text)
        for part in parts
    ]
    return [part for part in lines if part.kind != "html"]  # the plain way passes over comments itself


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(_LINES), max_size=8))
def test_parts_read_line_by_line_are_those_of_the_parser(lines: list[str]) -> None:
    """The short way is taken only where it leads to the same."""
    text = "\n".join(lines)
    plain = plain_parts(text)
    assert plain is None or comparable(plain) == comparable(parsed_parts(text)[0])


def test_plain_markdown_needs_no_parser() -> None:
    """Headings, prose, lists, tables and fences are read line by line: start-up stays light."""
    program = (
        "import sys, io\nbefore = {*sys.modules}\nfrom nexus_core import ReadHints\n"
        "from nexus_readers.markdown.reader import MarkdownReader\n"
        "text = b'# A\\n\\nText [a](b).\\n\\n- x\\n- y\\n\\n|a|b|\\n|-|-|\\n|1|2|\\n\\n```\\ncode\\n```\\n'\n"
        "print(len(list(MarkdownReader().read(io.BytesIO(text), ReadHints(name='a.md')))))\n"
        "heavy = ('markdown_it', 'selectolax', 'yaml', 'tomllib', 'charset_normalizer')\n"
        "print([name for name in heavy if name in {*sys.modules} - before])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["7", "[]"]


def test_lists_that_are_too_deep_are_reported() -> None:
    """Nothing exhausts the stack."""
    reader = DocumentReader()
    read = reader.items(BytesIO(("> " * 2000 + "deep\n").encode()), FileOrigin(name="a.md"))
    list(read.items)
    assert any("too deep" in remark for remark in read.remarks)


# Generated


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(8))
def test_generated_documents_come_back(style: str, seed: int) -> None:
    """Every word once and in order, tables cell for cell, in each style of writing."""
    tree = for_markdown(document(seed), style)
    found = compare(blocks_of(MarkdownPage(style, seed).text(tree)), tree)
    assert found.share == 1
    assert (found.lost, found.twice, found.strangers, found.tables) == ((), (), (), ())


def test_facts_are_cited_by_their_section() -> None:
    """Of a long document each section is an item."""
    items = items_of(f"# Doc\n\n## One\n\n{FILLER}\n\n## Two\n\nThe code is 8801.\n\n{FILLER}\n")
    assert [item.title for item in items if "8801" in item.text] == ["Doc > Two"]


@pytest.mark.parametrize(
    "source",
    [
        "+++\ntitle = 'T'\n[extra]\nowner = 'Kim Vale'\n+++\nText.\n",
        "---\ntitle: T\nextra:\n  owner: Kim Vale\n---\nText.\n",
    ],
)
def test_front_matter_tells_values_in_tables_of_it(source: str) -> None:
    """What stands in a table of TOML, or a mapping of YAML, is told like other values."""
    assert metadata_of(source).values == {"extra.owner": "Kim Vale"}
    assert texts_of(source) == ["Owner: Kim Vale", "Text."]


def test_front_matter_tells_names_of_authors() -> None:
    """Authors may be written with their addresses: their names are told."""
    source = "---\nauthors:\n  - name: Kim\n    url: https://e.org\n  - name: Lea\n---\nText.\n"
    assert metadata_of(source).author == "Kim, Lea"


def test_markdown_leaves_out_tags_of_components() -> None:
    """Tags of components within a paragraph are no words; types in angle brackets are."""
    assert texts_of('Use <Tab value="npm">npm</Tab> or `x`, a List<String> of <Icon/>.\n') == [
        "Use npm or `x`, a List<String> of ."
    ]


def test_heading_in_a_list_item_is_a_heading() -> None:
    """GitHub shows it as one; what stands in its item comes below it, and one in a quotation is quoted."""
    assert headings_of("- ## Setup\n\n  Turn it on.\n- ## Use\n\n  Press it.\n") == [(2, "Setup"), (2, "Use")]
    assert headings_of("1. Step\n\n   Details\n   -------\n\n   Words.\n") == [(2, "Details")]
    assert headings_of("> ## Quoted\n> words\n") == []
    assert texts_of("- ## Setup\n\n  Turn it on.\n")[-1] == "Turn it on."

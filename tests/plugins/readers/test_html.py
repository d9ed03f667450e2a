"""HTML and MHTML: what people see of a page comes back as blocks, each word once and in order."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest
from nexus_sources.files import Files

from nexus_core import (
    Block,
    Code,
    Figure,
    Footnote,
    Formula,
    Heading,
    ListItem,
    Metadata,
    Paragraph,
    Remark,
    RunContext,
    Table,
)
from nexus_core.toolkit import blocks_text
from nexus_core.toolkit.documents.reading import DocumentReader, FileOrigin, ReadSettings
from tests.plugins.readers.generated import compare, document
from tests.plugins.readers.generated_html import STYLES
from tests.plugins.readers.reading import grows_in_proportion

TEX = '<annotation encoding="application/x-tex">'


def read(page: str | bytes, name: str = "a.html", **options: object) -> list[Block]:
    data = page if isinstance(page, bytes) else page.encode()
    readers = {".html": {**options}} if options else {}
    _, blocks = DocumentReader(ReadSettings(readers=readers)).blocks(BytesIO(data), FileOrigin(name=name))
    return list(blocks)


def text(page: str | bytes, name: str = "a.html") -> str:
    return blocks_text(read(page, name))


def only(page: str, kind: type[Block]) -> Block:
    (block,) = [block for block in read(page) if isinstance(block, kind)]
    return block


def table(page: str) -> Table:
    block = only(page, Table)
    assert isinstance(block, Table)
    return block


# Generated pages


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_generated_pages_come_back_word_for_word(style: str) -> None:
    """At least 99 % of the words in order, none twice, nothing that nobody sees, tables cell for cell."""
    for seed in range(20):
        tree = document(seed)
        page = STYLES[style]().page(tree)
        found = compare(read(page, "a.xhtml" if style == "xhtml" else "a.html"), tree)
        assert found.share >= 0.99
        assert (found.twice, found.strangers, found.tables) == ((), (), ())


# What is a block


def test_questions_in_buttons_are_headings() -> None:
    """An accordion's button is the text of its heading; what it shows is read though it is hidden now."""
    page = (
        '<h3><button aria-controls="p1">How long?</button></h3><div id="p1" hidden>Two weeks.</div>'
        "<details><summary>How much?</summary>Nine euros.</details>"
    )
    assert text(page) == "### How long?\n\nTwo weeks.\n\nHow much?\n\nNine euros."


def test_end_tags_may_be_left_out() -> None:
    """Items, terms, paragraphs and cells end where the next one begins."""
    page = "<ul><li>alpha<li>beta<ol start=3><li>deep</ol></ul><dl><dt>term<dd>meaning</dl><p>one<p>two"
    assert text(page) == "- alpha\n- beta\n  3. deep\n\nterm\n\n- meaning\n\none\n\ntwo"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("10<sup>6</sup> cells, 10<sup>-3</sup> mol", "10^6 cells, 10^-3 mol"),
        ("CO<sub>2</sub>, x<sub>i + 1</sub>", "CO_2, x_(i + 1)"),
        ("on May 1<sup>st</sup>", "on May 1st"),
        ("<del>90 euros</del> <ins>75 euros</ins>", "~~90 euros~~ 75 euros"),
        ('<span style="text-decoration: line-through">90</span> 75', "~~90~~ 75"),
        ("set <code>a`b</code>", "set ``a`b``"),
        ("one<wbr>word and Ver&shy;si&shy;che&shy;rung", "oneword and Versicherung"),
        ("A&nbsp;B &#150; caf&eacute; &copy 2024", "A B – café © 2024"),
        ("<ruby>東<rt>とう</rt>京<rt>きょう</rt></ruby>駅", "東京駅"),
        ("a<br>b<br><br>c", "a\nb\n\nc"),
    ],
)
def test_inline_marks_keep_what_they_mean(page: str, expected: str) -> None:
    """A power is no number, a struck price is told apart, invisible characters do not divide words."""
    assert text(f"<p>{page}</p>") == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<a href="tel:+4331655501">Call us</a>', "[Call us](tel:+4331655501)"),
        ('<a href="tel:+43316555011">+43 316 555011</a>', "+43 316 555011"),
        ('<a href="mailto:desk@example.org?subject=x">write</a>', "[write](mailto:desk@example.org)"),
        ('<a href="mailto:desk@example.org">desk@example.org</a>', "desk@example.org"),
        ('<a href="https://example.org/form">the form</a>', "[the form](https://example.org/form)"),
        ('<a href="https://www.example.org/">example.org</a>', "example.org"),
        ('<a href="b.html">next</a> <a href="#x">here</a>', "next here"),
        ('<a href="tel:+4331655501"><i class="icon"></i></a>', "+4331655501"),
    ],
)
def test_links_tell_their_address_where_their_words_do_not(page: str, expected: str) -> None:
    """Numbers and addresses of the web are text, those inside of a site are links alone."""
    block = only(f"<p>{page}</p>", Paragraph)
    assert isinstance(block, Paragraph)
    assert block.text == expected
    assert block.links


def test_footnotes_follow_what_their_marks_stand_in() -> None:
    """The note is told once, with its mark, and not where the page keeps it."""
    blocks = read(
        '<p>The tank takes 250<sup><a href="#fn1" id="r1">1</a></sup> litres.</p><p>More.</p>'
        '<ol><li id="fn1"><p>Without the lid. <a href="#r1">↩</a></p></li></ol>'
    )
    assert [type(block) for block in blocks] == [Metadata, Paragraph, Footnote, Paragraph]
    assert blocks_text(blocks[1:3]) == "The tank takes 250[^1] litres.\n\n[^1]: Without the lid."


@pytest.mark.parametrize(
    "page",
    [
        '<p>A<sup class="reference"><a href="#cite_note-1">[1]</a></sup>.</p><ol><li id="cite_note-1">'
        '<span class="mw-cite-backlink"><a href="#cite_ref-1">^</a></span> Note.</li></ol>',
        '<p>A<a href="#_ftn1" name="_ftnref1">[1]</a>.</p>'
        '<div id=ftn1><p><a href="#_ftnref1" name="_ftn1">[1]</a> Note.</p></div>',
        '<p>A<a href="#fn1" role="doc-noteref"><sup>1</sup></a>.</p>'
        '<aside id="fn1"><p>Note.<a href="#r">↩︎</a></p></aside>',
        '<p>A<a href="#n1"><sup>1</sup></a>.</p><p><a name="n1">1.</a> Note.</p>',
    ],
    ids=["wiki", "word", "pandoc", "old"],
)  # fmt: skip
def test_notes_are_known_however_they_are_written(page: str) -> None:
    """By wikis, word processors, converters and people."""
    assert text(page) == "A[^1].\n\n[^1]: Note."


def test_a_card_that_is_a_link_tells_its_address_once() -> None:
    """A link around several blocks stands in the first."""
    page = '<div>x <a href="https://x.org/a"><div>Title</div><div>Words</div></a>'
    assert text(page) == "x\n\n[Title](https://x.org/a)\n\nWords"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<math><mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup></math>", "E = mc^2"),
        (f'<math><semantics><mi>x</mi>{TEX}x^2</annotation></semantics></math>', "$x^2$"),
        (
            f'<span class="katex"><span class="katex-mathml"><math>{TEX}a_1</annotation></math></span>'
            '<span class="katex-html" aria-hidden="true">a1</span></span>',
            "$a_1$",
        ),
        ('<span class="MathJax">E</span><script type="math/tex">E=mc^2</script>', "$E=mc^2$"),
        (
            '<span style="display:none" class="mwe-math-mathml"><math alttext="{\\displaystyle y}"></math></span>',
            "$y$",
        ),
    ],
    ids=["mathml", "annotation", "katex", "mathjax", "wiki"],
)  # fmt: skip
def test_formulas_are_told_once(page: str, expected: str) -> None:
    """As TeX where the page has it; what programs draw of it is not read again."""
    assert text(f"<p>So {page} holds</p>") == f"So {expected} holds"


def test_formulas_that_stand_alone_are_blocks() -> None:
    """MathML says so itself, MathJax by its script."""
    page = '<p>a</p><math display="block" alttext="x^2"></math><script type="math/tex; mode=display">y</script>'
    assert [block.text for block in read(page) if isinstance(block, Formula)] == ["x^2", "y"]


# Tables


def test_spans_are_resolved_and_headers_joined() -> None:
    """Each value stands under its own names, a caption stays."""
    found = table(
        '<table><caption>Rates</caption><tr><th rowspan="2">Zone</th><th colspan="2">Weekday</th></tr>'
        '<tr><th>Adult</th><th>Child</th></tr><tr><th scope="row" rowspan="0">A</th><td>5</td><td>2</td></tr>'
        '<tr><td colspan="2">none</td></tr></table>'
    )
    assert (found.caption, found.header) == ("Rates", ("Zone", "Weekday Adult", "Weekday Child"))
    assert found.rows == (("A", "5", "2"), ("A", "none", "none"))


def test_a_table_in_a_cell_is_told_there() -> None:
    """No row comes twice."""
    found = table(
        "<table><tr><th>Model<th>Parts<tr><td>Tern<td><table><tr><td>wing<td>12<tr><td>tail<td>5</table></table>"
    )
    assert found.rows == (("Tern", "wing 12; tail 5"),)


def test_rows_of_a_group_end_with_it() -> None:
    """A cell that is higher than its group reaches no further, and the foot stands last."""
    page = "<table><tfoot><tr><td>sum<td>3</tfoot><tbody><tr><td rowspan=9>a<td>1<tbody><tr><td>b<td>2</table>"
    assert table(page).rows == (("a", "1"), ("b", "2"), ("sum", "3"))


def test_tables_for_layout_are_no_tables() -> None:
    """What stands in them is read as any other part of the page."""
    page = "<table><tr><td><h1>Top</h1><p>left<td><table><tr><td>City<td>Graz<tr><td>Fee<td>12</table></table>"
    blocks = read(page)
    assert [type(block) for block in blocks] == [Metadata, Heading, Paragraph, Table]


# Code


@pytest.mark.parametrize(
    "page",
    [
        '<pre><code class="language-python">a = 1\n\n  b</code></pre>',
        '<pre class="python"><div>a = 1</div><div><br></div><div>  b</div></pre>',
        '<div class="highlight-python"><pre><span class="lineno">1</span>a = 1\n<span class="lineno">2</span>\n'
        '<span class="lineno">3</span>  b</pre></div>',
        '<table class="highlight js-file-line-container" data-lang="python"><tr><td data-line-number="1">1</td>'
        '<td class="blob-code js-file-line">a = 1</td></tr><tr><td data-line-number="2">2</td>'
        '<td class="blob-code"></td></tr><tr><td data-line-number="3">3</td>'
        '<td class="blob-code">  b</td></tr></table>',
        '<table class="highlighttable"><tr><td class="linenos"><pre>1\n2\n3</pre></td><td class="code">'
        '<pre class="python">a = 1\n\n  b</pre></td></tr></table>',
        '<pre data-lang="python"><span>1</span>a = 1<br><span>2</span><br><span>3</span>  b</pre>',
    ],
    ids=["class", "divisions", "numbers", "rows", "gutter", "counted"],
)
def test_code_keeps_its_lines_and_no_numbers(page: str) -> None:
    """However a host writes lines and their numbers."""
    block = only(page, Code)
    assert isinstance(block, Code)
    assert (block.text, block.language) == ("a = 1\n\n  b", "python")


# What is seen


@pytest.mark.parametrize(
    "page",
    [
        '<p style="display: none">HIDE</p>', '<p style="visibility:hidden">HIDE</p>', "<p hidden>HIDE</p>",
        '<i aria-hidden="true">HIDE</i>', "<template>HIDE</template>", "<script>HIDE</script>", "<!-- HIDE -->",
        "<style>.x { color: red; display: none }</style><p class='y x'>HIDE</p>", "<dialog>HIDE</dialog>",
        '<input type="hidden" value="HIDE">', "<style>#y{visibility:hidden}</style><p id=y>HIDE</p>",
        "<nav>HIDE</nav>", "<video>HIDE</video>", '<p>x<img src="a.png" alt=""></p>', "<![CDATA[HIDE]]>",
        "<noframes>HIDE</noframes>", "<!--[if IE]><p>HIDE</p><![endif]-->",
    ],
)  # fmt: skip
def test_what_nobody_sees_is_no_text(page: str) -> None:
    """Styles of the page itself count, too."""
    assert text(f"<p>before {page} <p>after").split() in (["before", "after"], ["before", "x", "after"])


@pytest.mark.parametrize(
    "page",
    [
        "<details><summary>a</summary><p>SEEN</details>", "<noscript><p>SEEN</p></noscript>",
        "<dialog open>SEEN</dialog>",
        '<input value="SEEN" readonly>', "<textarea>SEEN</textarea>", "<select><option>SEEN</select>",
        '<x-card><template shadowrootmode="open"><p>SEEN</p></template></x-card>', '<img src="a.png" alt="SEEN">',
        "<iframe srcdoc='<p>SEEN'></iframe>", "<svg><text>SEEN</text></svg>", "<footer>SEEN</footer>",
        "<main>a<article><p>b</p><footer>SEEN</footer></article></main>", '<span class="sr-only">SEEN</span>',
        "<style>@media print { .x { display: none } }</style><p class=x>SEEN</p>", "</body></html><p>SEEN",
        "<form><button>SEEN</button></form>", "<blockquote>a<footer>SEEN</footer></blockquote>",
    ],
)  # fmt: skip
def test_what_people_see_is_read_once(page: str) -> None:
    """Values of forms, what opens with a click, what stands where scripts do not run."""
    assert text(f"<p>before</p>{page}").count("SEEN") == 1


def test_words_are_divided_as_they_are_shown() -> None:
    """Blocks, buttons and cells stand apart; inline elements do not, whatever they are by themselves."""
    page = (
        '<span style="display:block">a</span><span style="display:block">b</span><div style="display:inline">c</div>'
        '<div style="display:inline">d</div><div style="display:flex"><b>e</b><b>f</b></div><p>g<b>h</b></p>'
    )
    assert text(page) == "a\n\nb\n\ncd\n\ne f\n\ngh"


def test_pictures_are_told_by_what_is_written_about_them() -> None:
    """A caption belongs to its picture; the copy for pages without scripts is none."""
    page = '<figure><img alt="A map"><noscript><img alt="A map"></noscript><figcaption>Exit C</figcaption></figure>'
    block = only(page, Figure)
    assert isinstance(block, Figure)
    assert (block.text, block.caption) == ("A map", "Exit C")


def test_main_text_leaves_out_what_is_around_it() -> None:
    """Only where the page marks one part as its content."""
    page = "<header>site</header><aside>ad</aside><main><h1>Top</h1><p>text</main><footer>imprint tel</footer>"
    assert blocks_text(read(page, main_text=True)) == "# Top\n\ntext"
    assert blocks_text(read("<main>a</main><main>b</main>", main_text=True)) == "a\n\nb"


# Broken pages


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<p>before</p><!-- oops <p>after</p>", ["before", "oops", "after"]),
        ("<p>before</p><textarea>note", ["before", "note"]),
        ("<head><title>Name</head><body><p>before</p>", ["before"]),
        ("<p>before<script>x = 1", ["before"]),
    ],
    ids=["comment", "textarea", "title", "script"],
)
def test_what_is_never_closed_swallows_nothing(page: str, expected: Sequence[str]) -> None:
    """It is told of with its line."""
    blocks = read(page)
    assert [block.text for block in blocks if isinstance(block, Paragraph)] == list(expected)
    assert any(isinstance(block, Remark) and "line 1: a " in block.text for block in blocks)


def test_an_open_heading_ends_with_its_line() -> None:
    """The paragraphs in it are paragraphs."""
    assert text("<h2>Open<p>one</p><p>two</p>") == "## Open\n\none\n\ntwo"
    assert isinstance(only("<h2>" + "word " * 200, Paragraph), Paragraph)


def test_xhtml_closes_elements_in_their_start_tag() -> None:
    """An empty script swallows nothing, an empty link marks nothing, CDATA is text."""
    body = '<body><a id="x"/><p>a <![CDATA[<b>]]></p></body>'
    page = f'<?xml version="1.0"?><html><head><script src="a"/><title>T</title></head>{body}</html>'
    assert text(page, "a.xhtml") == "a <b>"


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 50_000 + "deep", "<ul><li>" * 20_000 + "deep", "<table><tr><td>" * 5_000 + "deep",
        "<!--" * 50_000 + "deep", "".join(f"<font size={n}>" for n in range(3000)) + "<p>x" * 3000 + "deep",
        "<a" + "".join(f" a{n}=1" for n in range(30_000)) + ">deep", "<textarea>" * 9_000 + "deep",
        "<table><tr><td colspan=1000 rowspan=65000>deep", "<blockquote>" * 9_000 + "deep", "<sup>" * 20_000 + "deep",
        "<q>" * 9_000 + "deep", "<figure>" * 9_000 + "deep", "<math>" + "<mrow>" * 9_000 + "<mi>deep",
    ],
    ids="div list table comment font attributes textarea span quote sup q figure math".split(),
)  # fmt: skip
def test_hostile_pages_are_read(page: str) -> None:
    """Whatever is nested, repeated or left open: the words are there."""
    assert "deep" in text(page)


# Places and properties


def test_blocks_tell_their_lines() -> None:
    """Lines are those of the file, also of words that stand there twice."""
    page = "<head>\n<title>One</title></head><body>\n<h1>One</h1>\n<p>\ntext &amp; more\n</p><ul>\n<li>One</li></ul>"
    assert [block.place.line for block in read(page)[1:]] == [3, 5, 7]


def test_headings_have_the_names_by_which_links_reach_them() -> None:
    """Their own, that of a link in them, or that of the part which they begin; signs of links to them are no text."""
    page = (
        '<h2 id="a">A<a class="headerlink" href="#a">¶</a></h2><h2><a name="b"></a>B <a href="#b">#</a></h2>'
        '<section id="c"><h2>C</h2><h2>D</h2></section>'
    )
    headings = [block for block in read(page) if isinstance(block, Heading)]
    assert [(block.text, block.anchor) for block in headings] == [("A", "a"), ("B", "b"), ("C", "c"), ("D", "")]


def test_a_page_tells_title_author_date_and_language() -> None:
    """By its head, by what search engines are told, by marks in the text."""
    first = read(
        '<html lang="de-AT"><title>Hilfe</title><meta name="author" content="Ada"><time datetime="2024-05-01">x</time>'
    )
    assert first[0] == Metadata(title="Hilfe", author="Ada", date="2024-05-01", language="de-AT")
    data = '{"@graph": [{"headline": "Help", "author": [{"name": "Bea"}], "datePublished": "2024-05-01T10:00:00Z"}]}'
    second = read(f'<script type="application/ld+json">{data}</script><p>x')
    assert second[0] == Metadata(title="Help", author="Bea", date="2024-05-01T10:00:00Z")


def test_lists_are_numbered_as_they_are_shown() -> None:
    """By start, value, type and order."""
    page = "<ol type=a start=3><li>x<li value=26>y<li>z</ol><ol reversed><li>x<li>y</ol><ol type=I><li>x</ol>"
    markers = [block.marker for block in read(page) if isinstance(block, ListItem)]
    assert markers == ["c.", "z.", "aa.", "2.", "1.", "I."]


# MHTML


def test_mhtml_is_the_page_that_was_saved() -> None:
    """Its parts are decoded, the pages in its frames stand in their places, pictures are told by their words."""
    data = (
        b"Subject: Saved\r\nDate: Wed, 01 May 2024 10:00:00 +0200\r\n"
        b'Content-Type: multipart/related; boundary="x"\r\n\r\n'
        b"--x\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b'<h1>Guide</h1><p>The caf=E9 code is 47=\r\n20.</p><iframe src=3D"cid:f"></iframe><img alt=3D"A map">\r\n'
        b"--x\r\nContent-Type: text/html\r\nContent-ID: <f>\r\n\r\n<p>framed\r\n--x--\r\n"
    )
    blocks = read(data, "a.mhtml")
    assert blocks[0] == Metadata(title="Saved", date="2024-05-01T10:00:00+02:00")
    assert blocks_text(blocks) == "# Guide\n\nThe café code is 4720.\n\nframed\n\n[Figure: A map]"


async def test_the_source_files_reads_a_page(tmp_path: Path) -> None:
    """A question in a button is in the item that a pipeline has of the page, with its answer."""
    page = "<title>Help</title><h3><button>How long does a refund take?</button></h3><p>14 days."
    (tmp_path / "faq.html").write_text(page)
    source = Files(paths="*.html")
    source.base_dir = str(tmp_path)
    (item,) = await source.gather("", RunContext())
    assert (item.title, item.text) == ("Help", "### How long does a refund take?\n\n14 days.")


@pytest.mark.parametrize(
    "page",
    [
        "<style>.panel{display:none}</style><button class=accordion>Can I pay by card?</button>"
        "<div class=panel>Visa only.</div>",
        "<h3><button aria-expanded=false>Can I pay by card?</button></h3><div style='display:none'>Visa only.</div>",
        "<div class=expand-control>Can I pay by card?</div><div class=x style='display: none'>Visa only.</div>",
        "<style>.tabcontent{display:none}</style><h3>Can I pay by card?</h3><div class=tabcontent>Visa only.</div>",
        "<details><summary>Can I pay by card?</summary><div><div hidden>Visa only.</div></div></details>",
    ],
)
def test_html_tells_what_a_click_unfolds(page: str) -> None:
    """The answer of an accordion is read, by whatever means it is hidden until someone clicks on its question."""
    assert [getattr(block, "text", "") for block in read(page)][1:] == ["Can I pay by card?", "Visa only."]


@pytest.mark.parametrize(
    "page",
    [
        "<p>Seen</p><p style='display:none'>out</p>",
        "<h2>What is seen?</h2><div style='display:none'>out</div>",
        "<button>Delete</button><div class=modal style='display:none'>out</div>",
        "<button aria-expanded=false>More</button><span aria-hidden=true>out</span>",
    ],
)
def test_html_leaves_out_what_no_click_unfolds(page: str) -> None:
    """What is hidden beside a heading, a button of a dialog or an icon is no text."""
    assert "out" not in blocks_text(read(page))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("10<span style='vertical-align:super;font-size:70%'>6</span> bytes", "10^6 bytes"),
        ("<style>.u{vertical-align:super} .l{vertical-align:sub}</style>H<span class=l>2</span>O, m<i class=u>2</i>",
         "H_2O, m^2"),
        ("1<sup>1</sup>&frasl;<sub>2</sub> cups, <sup>3</sup>/<sub>4</sub>", "1 1⁄2 cups, 3/4"),
        ("<span class=status-lozenge>DONE</span><span class='a badge'>OPEN</span>", "DONE OPEN"),
        ("from<span class=screen-reader-text>Price was: 45.</span><span class=sr-only>Now: 30.</span>",
         "from Price was: 45. Now: 30."),
        ("<meter>60%</meter><progress>30 percent</progress>", "60% 30 percent"),
        ("<style>.c{display:inline-block;padding:0 1em}</style><span class=c>travel</span><span class=c>work</span>",
         "travel work"),
    ],
)  # fmt: skip
def test_html_reads_styles_of_words_as_they_look(source: str, text: str) -> None:
    """Characters raised by their style are raised, labels beside each other two words, fractions one number."""
    assert blocks_text(read(f"<body>{source}")) == text


def test_html_reads_notes_whose_mark_is_linked_back() -> None:
    """A note as DocBook writes it, which leads back to its mark, does not take the paragraph of the mark for a note."""
    page = """<p>Value 77<sup class="footnote">[<a name="id1" href="#ftn.id1" class="footnote">1</a>]</sup> units.</p>
        <div class="footnotes"><div class="footnote"><p><sup>[<a name="ftn.id1" href="#id1" class="para">1</a>] </sup>
        Since version 8.</p></div></div>"""
    said = [(type(block), getattr(block, "text", "")) for block in read(page)][1:]
    assert said == [(Paragraph, "Value 77[^1] units."), (Footnote, "Since version 8.")]


def test_html_reads_headings_and_code_of_hosting_sites() -> None:
    """An icon that links to its own heading says nothing; the language of code is told by its own class."""
    page = """<div><h1>App</h1><a id=x class=anchor aria-label="Permalink: App" href="#app"><svg></svg></a></div>
        <div class="highlight highlight-source-shell"><pre>pip <b>x</b></pre></div>"""
    _, heading, code = read(page)
    assert isinstance(heading, Heading)
    assert isinstance(code, Code)
    assert (heading.text, code.text, code.language) == ("App", "pip x", "shell")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<a href='https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fe.org%2Fform-7&amp;data=5'>form</a>",
         "[form](https://e.org/form-7)"),
        ("<a href='https://www.google.com/url?q=https://e.org/f&amp;sa=D'>form</a>", "[form](https://e.org/f)"),
        ("<a href='files/price%20list.pdf'>prices</a> <a href='next.html'>next</a>",
         "[prices](files/price%20list.pdf) next"),
        ("<a href='mailto:info%40e.org'>us</a>, <a href='fax:+1'>fax</a>", "[us](mailto:info@e.org), [fax](fax:+1)"),
    ],
)  # fmt: skip
def test_html_tells_the_addresses_that_links_lead_to(source: str, text: str) -> None:
    """An address is told as people use it: without what mail programs wrap it in, and of files that a page offers."""
    assert blocks_text(read(f"<p>{source}")) == text


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (
            "<p>It takes 250<sup>1</sup> litres of 10<sup>6</sup>.</p><p>More.<p><sup>1</sup> Without the pump.",
            "It takes 250[^1] litres of 10^6.\n\n[^1]: Without the pump.\n\nMore.",
        ),
        (
            "<table><tr><th>Kind<th>Litres<tr><td>Tank<td>250<sup>1</sup><tr><td>Can<td>20<sup>2</sup></table>"
            "<p>1 Without the pump.<p>2) With the lid.",
            "| Kind | Litres |\n| --- | --- |\n| Tank | 250[^1] |\n| Can | 20[^2] |\n\n"
            "[^1]: Without the pump.\n[^2]: With the lid.",
        ),
        ("<p>It costs 40<sup>*</sup> euros.</p><small>* In May.</small>", "It costs 40[^*] euros.\n\n[^*]: In May."),
        ("<p>It is 250<sup>1</sup> litres.", "It is 250^1 litres."),
        ("<p>It is 250<sup>2</sup> litres.<p>2 men came by.", "It is 250^2 litres.\n\n2 men came by."),
        ("<p>12 m<sup>1</sup> of x<sup>1</sup>.<p>1 Old man came.", "12 m^1 of x^1.\n\n1 Old man came."),
    ],
    ids=["text", "table", "star", "no note", "a gap", "powers"],
)
def test_raised_mark_without_a_link_is_joined_to_its_note(page: str, expected: str) -> None:
    """Where a paragraph below begins with it; powers, and numbers without a note, stay as they are."""
    assert text(page) == expected


def test_raised_marks_grow_in_proportion() -> None:
    """Thousands of marks and notes are each looked at once."""
    assert grows_in_proportion(
        "a.html", lambda size: "<p>a 9<sup>1</sup></p>" * (size // 50) + "<p><sup>1</sup> A note.</p>" * (size // 50)
    )

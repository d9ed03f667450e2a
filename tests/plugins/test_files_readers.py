"""The readers: Markdown, HTML, PDF, code and the encodings of text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from nexus_sources.readers import code, html, markdown, pdf
from nexus_sources.readers.decoding import decode
from nexus_sources.readers.dispatch import load
from nexus_sources.readers.sections import ReadSettings, block_starts, cut, slug
from nexus_sources.walking.walk import FoundFile

from nexus_core import SourceError

# Markdown


def test_markdown_headings_in_fences_are_no_headings() -> None:
    """A comment in a shell script opens no section; setext headings do."""
    document = markdown.read("Title\n=====\n\n```sh\n# not a heading\n```\n\nPart\n----\ntext\n")
    assert [section.headings for section in document.sections] == [("Title",), ("Title", "Part")]
    assert document.title == "Title"


def test_markdown_headings_lose_their_markup_and_keep_their_names() -> None:
    """Code, links and emphasis leave their words; `{#name}` names the place."""
    document = markdown.read("# A *b* `c_d` [e](f) &amp; g {#custom}\n\ntext\n")
    assert document.sections[0].headings == ("A b c_d e & g",)
    assert document.sections[0].anchor == "custom"


def test_markdown_front_matter_becomes_title_tags_and_metadata() -> None:
    """Plain values are kept, dates as ISO text; line numbers count from the start of the file."""
    document = markdown.read(
        "---\ntitle: Bees\ntags: [a, b]\ndate: 2024-05-01\nnested: {x: 1}\n---\nHello.\n\n## One\n\ntext\n"
    )
    assert (document.title, document.tags, dict(document.metadata)) == ("Bees", ("a", "b"), {"date": "2024-05-01"})
    assert [section.line for section in document.sections] == [7, 9]
    assert document.text.startswith("Hello.")


@pytest.mark.parametrize("start", ["---\n\ntext\n---\n", "---\n- a\n---\n", "---\na: [\n---\n", "---\na: b\n"])
def test_markdown_that_only_looks_like_front_matter_is_text(start: str) -> None:
    """Rules, lists and broken YAML are left where they are."""
    document = markdown.read(start + "word\n")
    assert "word" in document.text
    assert document.tags == ()


def test_markdown_without_one_heading_above_all_has_no_title() -> None:
    """Two headings of the first level name parts, not the document."""
    assert markdown.read("# A\n\na\n\n# B\n\nb\n").title == ""


LINES = ["# A", "## B", "text", "", "```", "> # q", "- # l", "    # c"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=14))
def test_markdown_sections_lose_no_text(lines: list[str]) -> None:
    """Every line that is no heading is in a section, and every heading is in a path or stands for itself."""
    document = markdown.read("\n".join(lines))
    kept = "\n".join(section.text for section in document.sections)
    paths = " ".join(heading for section in document.sections for heading in section.headings)
    assert kept.count("text") == lines.count("text")
    assert [letter for letter in "AB" if f"{letter}" in "".join(lines) and letter not in kept + paths] == []


# Plain text


@pytest.mark.parametrize(
    ("text", "title", "rest"),
    [
        ("The lighthouse\n\nIt is white.\n", "The lighthouse", "It is white."),
        ("Notes\n=====\n\nFirst.\n", "Notes", "First."),
        ("It is white.\n\nAnd tall.\n", "", "It is white.\n\nAnd tall."),
        ("one line\nof two\n\nmore", "", "one line\nof two\n\nmore"),
        ("alone\n", "", "alone"),
    ],
    ids=["title", "underlined", "sentence", "paragraph", "nothing below"],
)
def test_plain_text_is_titled_by_a_line_that_stands_alone(text: str, title: str, rest: str) -> None:
    """The title is not repeated in the text."""
    document = code.read_plain(text)
    assert (document.title, document.text) == (title, rest)


# HTML

PAGE = """<!DOCTYPE html><html><head><title>Site - Bees</title><style>p {}</style></head><body>
<nav><a href="/">Home</a></nav>
<main><h1 id="bees">Bees</h1><p>They <b>dance</b>
 in the dark.</p><ul><li>one</li><li>two<ul><li>inner</li></ul></li></ul>
<h2>Food<a class="headerlink" href="#food">#</a></h2><table><tr><th>Plant</th><th>Month</th></tr>
<tr><td>Clover</td><td>June</td></tr></table>
<pre>a  =  1

b</pre><script>alert(1)</script><p>Less &amp; more</p></main><footer>Imprint</footer></body></html>"""


def test_html_becomes_markdown_in_sections() -> None:
    """Lists, tables and code keep their form; navigation, scripts and permalinks are gone."""
    document = html.read(PAGE)
    assert (document.title, document.kind) == ("Bees", "markdown")
    first, second = document.sections
    assert first.text == "They dance in the dark.\n\n- one\n- two\n  - inner"
    assert (first.headings, first.anchor) == (("Bees",), "bees")
    assert second.headings == ("Bees", "Food")
    assert second.text == "| Plant | Month |\n| --- | --- |\n| Clover | June |\n\n```\na  =  1\n\nb\n```\n\nLess & more"


def test_html_without_headings_is_titled_by_its_head() -> None:
    """The title element serves where there is no heading."""
    document = html.read("<title> My\n page </title><p>Hello<br>there")
    assert (document.title, document.text) == ("My page", "Hello\nthere")


def test_html_of_any_depth_is_read() -> None:
    """Deep trees exhaust no stack."""
    document = html.read("<div>" * 3000 + "deep" + "</div>" * 3000)
    assert document.text == "deep"


TAGS = ["<p>", "</p>", "<h2>", "</h2>", "<ul>", "<li>", "</ul>", "<pre>", "<table><tr><td>", "<table>", "w "]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(TAGS), max_size=20))
def test_html_never_fails_and_keeps_visible_words(parts: list[str]) -> None:
    """However broken the markup, the words are there."""
    document = html.read("<body>" + "".join(parts))
    headings = " ".join(heading for section in document.sections for heading in section.headings[-1:])
    assert (document.text + headings + document.title).count("w") >= min(1, parts.count("w "))


# PDF


def pdf_of(pages: list[str]) -> bytes:
    """Write a PDF with one text a page, lines as they are."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in pages:
        shown = " T* ".join(f"({line}) Tj" for line in text.split("\n"))
        stream = f"BT /F1 12 Tf 14 TL 50 700 Td {shown} ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        resources = "<< /Font << /F1 3 0 R >> >>"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Contents {len(objects)} 0 R /Resources {resources} >>"
        )
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    body = "%PDF-1.4\n"
    places = []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    start = len(body)
    body += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    body += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return body.encode("latin-1")


def test_pdf_without_outline_has_a_section_per_page() -> None:
    """Words and sentences that the end of a line has cut are joined."""
    document = pdf.read(pdf_of(["Bees dance in the exam-\nple hive and\nfly home.", "Second page."]))
    assert [(section.text, section.page, section.anchor) for section in document.sections] == [
        ("Bees dance in the example hive and fly home.", 1, "page-1"),
        ("Second page.", 2, "page-2"),
    ]


def test_pdf_with_outline_has_a_section_per_entry() -> None:
    """Sections begin where their titles stand on the page."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter()
    for page in PdfReader(BytesIO(pdf_of(["Preface.\nOne\nAbout one.", "Still one.\nTwo\nAbout two."]))).pages:
        writer.add_page(page)
    top = writer.add_outline_item(title="One", page_number=0)
    writer.add_outline_item(title="Two", page_number=1, parent=top)
    data = BytesIO()
    writer.write(data)
    document = pdf.read(data.getvalue())
    assert [(section.headings, section.page) for section in document.sections] == [
        ((), 1),
        (("One",), 1),
        (("One", "Two"), 2),
    ]
    assert [section.text for section in document.sections] == ["Preface.", "About one.\n\nStill one.", "About two."]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"%PDF-1.4\ngarbage", "cannot be read"), (pdf_of([""]), "without any text")],
    ids=["damaged", "scan"],
)
def test_pdf_that_yields_nothing_says_why(data: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """Damaged files and scans are told apart."""
    with pytest.raises(SourceError, match=reason):
        pdf.read(data)


def test_pdf_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command that helps."""
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(SourceError, match=r"pip install 'contextnexus\[pdf\]'"):
        pdf.read(b"%PDF-1.4")


# Code

DEFINITIONS = {
    ".py": "async def alpha(x):",
    ".js": "export const alpha = async (x) => {",
    ".ts": "export default class Alpha {",
    ".go": "func (s *Store) alpha(x int) error {",
    ".rs": "pub(crate) async fn alpha(x: u8) {",
    ".java": "public static int alpha(int x) {",
    ".c": "static char *alpha(const char *x) {",
    ".sql": "CREATE OR REPLACE VIEW alpha AS",
}


@pytest.mark.parametrize(("suffix", "line"), DEFINITIONS.items(), ids=DEFINITIONS.keys())
def test_code_sections_are_named_after_what_they_define(suffix: str, line: str) -> None:
    """Functions and classes of many languages are recognised."""
    document = code.read(f"{line}\n  return x\n", suffix)
    assert [heading.lower() for heading in document.sections[0].headings] == ["alpha"]


def test_code_is_cut_between_definitions() -> None:
    """Each section holds whole functions, and a long class goes on under its name."""
    functions = [f"def f{n}():\n" + "    work()\n" * 30 for n in range(20)]
    methods = "class Big:\n" + "".join(f"    def m{n}(self):\n" + "        work()\n" * 30 + "\n" for n in range(20))
    document = code.read("\n\n".join([*functions, methods]), ".py")
    assert all(s.text.startswith(("def f", "class Big", "    ")) for s in document.sections)
    assert document.sections[-1].headings[0] == "Big"
    assert len(document.sections) > 5


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_marks_at_the_start_tell_the_encoding(encoding: str) -> None:
    """The mark is not part of the text, and line ends are made one."""
    assert decode("größe\r\nend".encode(encoding), "utf-8").text == "größe\nend"


def test_pages_that_declare_their_encoding_are_believed() -> None:
    """A declaration holds where the bytes are not UTF-8 throughout."""
    page = '<meta charset="koi8-r"><p>Погода</p>'
    assert "Погода" in decode(page.encode("koi8-r"), "utf-8").text
    assert decode(page.encode(), "utf-8").text == page


@pytest.mark.parametrize("encoding", ["shift_jis", "gb18030", "koi8-r", "utf-16-le"])
def test_the_option_tells_the_encoding_of_files_that_do_not(encoding: str) -> None:
    """What the option names is read without a problem."""
    text = "天気はよい" if encoding != "koi8-r" else "Погода"
    assert (decoded := decode(text.encode(encoding), encoding)).text == text
    assert decoded.problem == ""


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), encoding=st.sampled_from(["utf-8", "utf-16", "latin-1", "ascii", "shift_jis"]))
def test_decoding_yields_text_or_says_why_not(data: bytes, encoding: str) -> None:
    """No bytes lead to anything else than a text or a SourceError."""
    try:
        said = decode(data, encoding).text + "left out"
    except SourceError as error:
        said = str(error)
    assert "left out" in said


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=100))
def test_decoding_is_the_inverse_of_encoding(text: str) -> None:
    """Whatever is UTF-8 is read as it is."""
    assert decode(b"x" + text.encode(), "utf-8") == decode(("x" + text).encode("utf-16"), "utf-8")
    assert decode(b"x" + text.encode(), "utf-8").text == "x" + text


# Sections


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab `", max_size=30), min_size=1, max_size=30), st.integers(5, 80))
def test_cutting_keeps_every_line_once_and_in_order(lines: list[str], size: int) -> None:
    """The spans join on to each other; only a single line, or the end with a crumb added, is longer than asked for."""
    spans = cut(lines, block_starts(lines), size)
    assert [line for first, last in spans for line in lines[first:last]] == lines
    for first, last in spans[:-1]:
        assert last - first == 1 or sum(len(line) + 1 for line in lines[first:last]) <= size


def test_slugs_are_those_of_hosts_of_markdown() -> None:
    """Punctuation goes, spaces become hyphens."""
    assert slug("Sick leave: what's next?") == "sick-leave-whats-next"


SUFFIXES: dict[str, Callable[[str], str]] = {
    ".md": str,
    ".html": lambda text: f"<p>{text}</p>",
    ".py": str,
    ".txt": str,
}


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=400), suffix=st.sampled_from(sorted(SUFFIXES)), times=st.sampled_from([1, 40]))
def test_any_file_yields_unique_items_or_a_reason(
    text: str, suffix: str, times: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a file holds, its items have ids of their own, text, a title and JSON metadata."""
    import orjson

    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes((SUFFIXES[suffix](text) * times).encode("utf-8", "surrogatepass"))
    loaded = load(FoundFile(str(path), path.name, (0, 0, path.stat().st_size)), ReadSettings())
    assert len({item.id for item in loaded.items}) == len(loaded.items)
    for item in loaded.items:
        assert item.text.strip()
        assert item.title
        assert orjson.loads(orjson.dumps(dict(item.metadata)))["path"] == path.name


def test_readers_of_a_folder_of_examples(tmp_path: Path) -> None:
    """A page in a file of its own goes through the reader its suffix asks for."""
    (tmp_path / "bees.html").write_text(PAGE)
    status = (tmp_path / "bees.html").stat()
    loaded = load(FoundFile(str(tmp_path / "bees.html"), "bees.html", (0, 0, status.st_size)), ReadSettings())
    assert [item.title for item in loaded.items] == ["Bees"]


_LINES = [
    "# a", "## b ##", "text", "", "```", "~~~", "```py", "- item", "  # c", "    # d", "> q", "> # q", "1. x", "#",
    "#x", "# `code` x", "---", "===", "<div>", "<!-- c -->", "<!-- a", "--> b", "| a | b |", "|---|---|", "   ### e",
    "\tcode", "* a\n  text", "`` a ` b ``", "# a {#id}", "# *emph* b", "-", "1.", "````", "    ```",
]  # fmt: skip


@settings(deadline=None)  # the first example imports the parser
@given(st.lists(st.sampled_from(_LINES), max_size=9))
def test_headings_read_line_by_line_are_those_of_the_parser(lines: list[str]) -> None:
    """The short way is taken only where it leads to the same headings."""
    text = "\n".join(lines)
    scanned = markdown._scanned(text.split("\n"))
    assert scanned is None or scanned == markdown._parsed(text)


def test_a_plain_document_needs_no_parser() -> None:
    """A README of headings, prose and fenced code is read line by line."""
    assert markdown._scanned(["# Title", "text", "```", "# no heading", "```", "## `code`"]) is not None

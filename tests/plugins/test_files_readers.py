"""The readers: HTML, PDF and code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from nexus_sources.readers import code, html, pdf
from nexus_sources.readers.dispatch import load
from nexus_sources.readers.sections import ReadSettings
from nexus_sources.walking.walk import FoundFile

from nexus_core import SourceError

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

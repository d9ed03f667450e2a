"""Office files for tests: by the libraries that write them, or from a few lines of their XML."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

from nexus_core import Block, Metadata, Remark
from nexus_core.toolkit import DocumentReader, FileOrigin, ReadSettings

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
M = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument."
ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{word}:1.0"'
    for name, word in (
        ("office", "office"), ("text", "text"), ("table", "table"), ("style", "style"), ("draw", "drawing"),
        ("fo", "xsl-fo-compatible"), ("presentation", "presentation"), ("svg", "svg-compatible"), ("meta", "meta"),
    )
) + ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'  # fmt: skip


def read(data: bytes, name: str, settings: ReadSettings | None = None) -> list[Block]:
    """Return the blocks of a file."""
    _, blocks = DocumentReader(settings or ReadSettings()).blocks(BytesIO(data), FileOrigin(name=name))
    return list(blocks)


def content(blocks: list[Block]) -> list[Block]:
    """Return the blocks that are content."""
    return [block for block in blocks if not isinstance(block, Metadata | Remark)]


def texts(blocks: list[Block]) -> list[str]:
    """Return the texts of the blocks that have one."""
    return [block.text for block in content(blocks) if hasattr(block, "text")]


def remarks(blocks: list[Block]) -> list[str]:
    """Return what is remarked."""
    return [block.text for block in blocks if isinstance(block, Remark)]


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    """Return a zip file with these parts."""
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as package:
        for name, part in parts.items():
            package.writestr(name, part)
    return file.getvalue()


def relations(*rows: tuple[str, str, str]) -> str:
    """Return the part that relates another one by (id, kind, target); one with `://` is of the world outside."""
    inner = "".join(
        f'<Relationship Id="{id}" Type="{_OFFICE}/{kind}" Target="{target}"'
        + (' TargetMode="External"/>' if ":" in target else "/>")
        for id, kind, target in rows
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{inner}</Relationships>'


def _open_xml(main: str, kind: str, parts: Mapping[str, str | bytes]) -> bytes:
    types = f'<Override PartName="/{main}" ContentType="{_TYPE}{kind}.main+xml"/>'
    return zipped({
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">{types}</Types>',
        "_rels/.rels": relations(("r1", "officeDocument", main)),
        **parts,
    })  # fmt: skip


def docx(body: str, *related: tuple[str, str, str], **parts: str) -> bytes:
    """Return a Word file with this body; `parts` are its other parts by their names without `.xml`."""
    document = f"<w:document {W} {R} {M}><w:body>{body}</w:body></w:document>"
    named = {f"word/{name}.xml": part for name, part in parts.items()}
    kinds = [(f"part{number}", name, f"{name}.xml") for number, name in enumerate(parts)]
    return _open_xml(
        "word/document.xml",
        "wordprocessingml.document",
        {"word/document.xml": document, "word/_rels/document.xml.rels": relations(*kinds, *related), **named},
    )


def xlsx(rows: str, after: str = "", styles: str = "", strings: str = "", before: str = "") -> bytes:
    """Return a workbook with one sheet that has these rows."""
    sheet = f"<worksheet {S} {R}>{before}<sheetData>{rows}</sheetData>{after}</worksheet>"
    book = f'<workbook {S} {R}><sheets><sheet name="Data" sheetId="1" r:id="r1"/></sheets></workbook>'
    kinds = [("r1", "worksheet", "worksheets/sheet1.xml"), ("r2", "styles", "styles.xml")]
    return _open_xml(
        "xl/workbook.xml",
        "spreadsheetml.sheet",
        {
            "xl/workbook.xml": book,
            "xl/_rels/workbook.xml.rels": relations(*kinds, ("r3", "sharedStrings", "sharedStrings.xml")),
            "xl/worksheets/sheet1.xml": sheet,
            "xl/styles.xml": f"<styleSheet {S}>{styles}</styleSheet>",
            "xl/sharedStrings.xml": f"<sst {S}>{strings}</sst>",
        },
    )


def open_document(body: str, kind: str = "text", automatic: str = "", **parts: str) -> bytes:
    """Return an OpenDocument file with this body."""
    inner = f"<office:body><office:{kind}>{body}</office:{kind}></office:body>"
    styles = f"<office:automatic-styles>{automatic}</office:automatic-styles>"
    return zipped({
        "mimetype": f"application/vnd.oasis.opendocument.{kind}",
        "content.xml": f"<office:document-content {ODF}>{styles}{inner}</office:document-content>",
        **{f"{name}.xml": part for name, part in parts.items()},
    })  # fmt: skip


def epub(chapters: Mapping[str, str], metadata: str = "", extra: Mapping[str, str] | None = None) -> bytes:
    """Return a book with these chapters, which are bodies of pages."""
    page = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body>{}</body></html>'
    items = "".join(
        f'<item id="c{number}" href="{name}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    nav = '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
    links = "".join(f'<li><a href="{name}">Label of {name}</a></li>' for name in chapters)
    return zipped({
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="b/b.opf"/></rootfiles></container>',
        "b/b.opf": f'<package><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">{metadata}</metadata>'
        f'<manifest>{items}{nav}</manifest><spine><itemref idref="nav"/>{spine}</spine></package>',
        "b/nav.xhtml": page.format(f"<nav><ol>{links}</ol></nav>"),
        **{f"b/{name}": page.format(body) for name, body in chapters.items()},
        **(extra or {}),
    })  # fmt: skip

"""What an office file is by what is in it: its table of content types, or its file `mimetype`."""

from __future__ import annotations

from nexus_core import SourceError
from nexus_readers.office.packages import Package, attribute, name_of

_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
_STAR_OFFICE = "application/vnd.sun.xml."
_LONGEST_TYPE = 200


def office_kind(package: Package) -> tuple[str, str]:
    """Return the kind of an office file and the name of its main part; raises SourceError for any other zip file."""
    if "[Content_Types].xml" in package:
        return _open_xml_kind(package)
    if "mimetype" in package:
        told = package.read("mimetype")[:_LONGEST_TYPE].decode("ascii", "replace").strip()
    elif "content.xml" in package:
        told = _open_document_type(package)
    else:
        told = "application/epub+zip" if "META-INF/container.xml" in package else ""
    if told.startswith((_OPEN_DOCUMENT, _STAR_OFFICE)):
        return _open_document_kind(package, told)
    if told == "application/epub+zip":
        return "epub", "META-INF/container.xml"
    raise SourceError("is an archive; left out: unpack it, and add the files in it")


def _open_xml_kind(package: Package) -> tuple[str, str]:
    main = next((each.target for each in package.relations().values() if each.kind == "officeDocument"), "")
    for each in package.tree("[Content_Types].xml"):
        part = attribute(each, "PartName").lstrip("/")
        told = attribute(each, "ContentType")
        if name_of(each) == "Override" and (part.lower() == main.lower() if main else told.endswith("main+xml")):
            main = main or part
            for word, kind in (("wordprocessingml", "docx"), ("presentationml", "pptx"), ("spreadsheetml", "xlsx")):
                if word in told:
                    return kind, main
    if main.lower().endswith(".bin"):
        return "xlsb", main
    for folder, kind in (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx")):
        if main.lower().startswith(folder):
            return kind, main
    raise SourceError("is no Word, PowerPoint or Excel file, though packed like one; left out: save it as one, or PDF")


def _open_document_kind(package: Package, told: str) -> tuple[str, str]:
    name = "META-INF/manifest.xml"
    manifest = package.optional_tree(name)
    if manifest is not None and next(manifest.iter("{*}encryption-data"), None) is not None:
        raise SourceError("needs a password; left out: save it without one")
    word = told.rpartition(".")[2]
    if word.startswith(("spreadsheet", "calc")):
        return "ods", "content.xml"
    if word.startswith(("text", "writer", "presentation", "impress", "graphics", "draw")):
        return "odf", "content.xml"
    raise SourceError(f"is an OpenDocument file of a kind that is not read ({word}); left out: save it as PDF")


def _open_document_type(package: Package) -> str:
    """Return the type that an OpenDocument file without `mimetype` tells in its manifest."""
    manifest = package.optional_tree("META-INF/manifest.xml")
    for each in manifest if manifest is not None else ():
        if attribute(each, "full-path") == "/":
            return attribute(each, "media-type")
    return ""

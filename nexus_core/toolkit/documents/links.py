"""The links from one document to others: `docs/leave.md#sick`, or `[[Leave]]` where a wiki would know what is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urljoin, urlsplit

from nexus_core.toolkit.documents.sections import anchored, slug

MOST = 200
"""Links of one section."""
_FENCES = re.compile(r"^ {0,3}(```|~~~).*?(?:^ {0,3}\1|\Z)", re.DOTALL | re.MULTILINE)
_SPANS = re.compile(r"(?<!`)(`{1,40}+)(?!`).{1,2000}?(?<!`)\1(?!`)", re.DOTALL)
_INLINE = re.compile(
    r"(?<!!)\[[^\[\]\n]{0,500}\]\(\s*(?:<([^<>\n]{1,500})>|([^\s()<>]{1,500}(?:\([^\s()]*\))?[^\s()<>]{0,500}))"
)
_REFERENCE = re.compile(r"(?<!!)\[([^\[\]\n]{1,200})\](?:\[([^\[\]\n]{0,200})\])?(?![\[(:])")
_DEFINITION = re.compile(r"^ {0,3}\[([^\[\]\n]{1,200})\]:\s*<?([^\s<>]{1,500})", re.MULTILINE)
_WIKI = re.compile(r"(?<!!)\[\[([^\[\]|#\n]{1,200})(?:#([^\[\]|\n]{1,200}))?(?:\|[^\[\]\n]{0,200})?\]\]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")


def definitions(text: str) -> dict[str, str]:
    """Return what the labels of a Markdown document stand for."""
    if "]:" not in text:
        return {}
    return {_label(found[1]): found[2] for found in _DEFINITION.finditer(_prose(text))}


def markdown_links(text: str, defined: dict[str, str]) -> Iterator[str]:
    """Yield the targets of a text's links as they are written, those in code left out; `[[Name]]` as such."""
    if "](" not in text and "[[" not in text and not (defined and "[" in text):
        return
    prose = _prose(text)
    for found in _INLINE.finditer(prose):
        yield found[1] or found[2]
    for found in _WIKI.finditer(prose):
        yield f"[[{found[1].strip()}]]" + (f"#{slug(found[2])}" if found[2] else "")
    if defined:
        for found in _REFERENCE.finditer(prose):
            target = defined.get(_label(found[2] or found[1]))
            if target:
                yield target


def targets(written: Iterable[str], name: str) -> tuple[str, ...]:
    """Return the documents, and places in them, that links of the document `name` lead to; no web."""
    found: dict[str, None] = {}
    for link in written:
        target = link if link.startswith("[[") else _target(link, name)
        if target:
            found[target] = None
        if len(found) >= MOST:
            break
    return tuple(found)


def _target(link: str, name: str) -> str:
    if _SCHEME.match(name):
        return _clean(urljoin(name, link)) if urlsplit(urljoin(name, link)).netloc == urlsplit(name).netloc else ""
    if _SCHEME.match(link) or link.startswith("/"):
        return ""
    path, _, anchor = link.partition("#")
    path = unquote(path.partition("?")[0])
    whole = normpath(join(dirname(name), path)) if path else name
    if whole.startswith("..") or whole == ".":
        return ""
    anchor = anchored(unquote(anchor))
    return _clean(whole.replace("#", "%23") + (f"#{anchor}" if anchor else ""))


def _clean(target: str) -> str:
    """Return a target that can be kept as it is, `""` for any other."""
    fine = len(target) <= 500 and target.isprintable() and "\ufffd" not in target
    return target if fine else ""


def _prose(text: str) -> str:
    if "`" in text or "~~~" in text:
        text = _SPANS.sub(" ", _FENCES.sub("\n", text))
    return text


def _label(text: str) -> str:
    return " ".join(text.lower().split())

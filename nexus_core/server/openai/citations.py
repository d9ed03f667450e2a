"""Citations: what an answer cites as `[1]`, with the place in its text and an address where it can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import web
from attrs import evolve, frozen

from nexus_core.contract.answers import CITATION, Answer
from nexus_core.contract.errors import NexusError
from nexus_core.contract.values import Item
from nexus_core.server.http.app import identity
from nexus_core.server.pipelines import ServedPipelines
from nexus_core.server.settings import ServerSettings
from nexus_core.store.store_view import StoreView
from nexus_core.toolkit.documents.citation_place import place_of

MOST_CITATIONS = 1_000
"""Of one answer; those that come later are told of no more."""


@frozen(kw_only=True)
class Citation:
    """One place in a text that cites an item."""

    number: int
    start: int
    end: int
    """The citation is `text[start:end]`."""
    item: Item
    url: str = ""
    """Where it can be read: its source on the web, or the server's own page of it; empty where there is neither."""

    @property
    def is_on_the_web(self) -> bool:
        """Whether its source is an address."""
        return bool(web_address(self.item))

    @property
    def title(self) -> str:
        """The item's title, with the page, the rows or the line that it is from."""
        title = " ".join((self.item.title or self.item.source or self.item.id).split())
        return ", ".join(filter(None, [title, place_of(self.item)]))


@frozen(kw_only=True)
class CitedAnswer:
    """An answer as clients are told it."""

    answer: Answer
    citations: Sequence[Citation]
    sources: str = ""
    """The list of its sources that follows the text, where the server says so."""

    @property
    def text(self) -> str:
        """The text with the list of sources under it."""
        return self.answer.text + self.sources


class AnswerCitations:
    """Finds what answers cite, and where that can be read."""

    def __init__(self, serving: ServedPipelines, settings: ServerSettings) -> None:
        self._serving = serving
        self._scheme = "https" if settings.certificate or settings.tls_elsewhere else "http"
        self._list_sources = settings.list_sources

    async def cite(self, request: web.Request, answer: Answer, *, as_text: bool = True) -> CitedAnswer:
        """Return an answer with what it cites; `as_text` tells that a list may follow the text."""
        citations = find_citations(answer)
        if citations:
            own = await self._own_addresses(request, answer, citations)
            citations = [evolve(each, url=own.get(each.item.id) or web_address(each.item)) for each in citations]
        lists = self._list_sources and as_text and not answer.tool_calls
        return CitedAnswer(answer=answer, citations=citations, sources=list_sources(citations) if lists else "")

    async def _own_addresses(
        self, request: web.Request, answer: Answer, citations: Iterable[Citation]
    ) -> Mapping[str, str]:
        """Return the server's own addresses of items, by id: of those in the store, for who may read them there."""
        wanted = [each.item for each in citations if not web_address(each.item)]
        if not wanted or not identity(request).may("read"):
            return {}
        view = self._serving.seen_by(identity(request).viewer)
        start = f"{self._scheme}://{request.host}/#contexts"
        return {
            item.id: "/".join([start, _quoted(context), "items", _quoted(item.id), *_steps(item)])
            for context, item in await find_in_store(view, answer, wanted)
        }


async def find_in_store(view: StoreView, answer: Answer, cited: Iterable[Item]) -> list[tuple[str, Item]]:
    """Return what an answer cites that can be read in the store, each item once, with the name of its context.

    In the context that the caller has named, if it was searched, any item of that id will do, though it was changed
    since; in those that the pipeline names, which may be of another store, the very same text alone.
    """
    missing = {item.id: item.text for item in cited}
    found: list[tuple[str, Item]] = []
    chosen = answer.context_id if answer.context_id in answer.contexts else None
    for context in dict.fromkeys(filter(None, (answer.context_id, *answer.contexts))):
        try:
            there = await view.get(context, sorted(missing)) if missing else []
        except NexusError:  # the context of a pipeline with sources of its own is none of the store, or it is gone
            continue
        for item in there:
            if context == chosen or item.text == missing[item.id]:
                found.append((context, item))
                del missing[item.id]
    return found


def find_citations(answer: Answer) -> list[Citation]:
    """Return what a text cites of the items of its prompt, in the order of the text."""
    items = {packed.number: packed.item for packed in answer.prompt.items}
    found = [
        Citation(number=number, start=match.start(), end=match.end(), item=items[number])
        for match in CITATION.finditer(answer.text)
        if (number := int(match[1])) in items
    ]
    return found[:MOST_CITATIONS]


def list_sources(citations: Sequence[Citation]) -> str:
    """Return a list of what is cited, each once, to stand under the text; nothing where nothing is."""
    once = {each.number: each for each in reversed(citations)}
    lines = [f"- [{number}] {each.title}{_shown_place(each)}" for number, each in sorted(once.items())]
    return "\n\nSources:\n" + "\n".join(lines) if lines else ""


def _shown_place(citation: Citation) -> str:
    source = citation.item.source if citation.item.source != citation.title else ""
    return f": {citation.url}" if citation.url else f" ({source})" if source else ""


def web_address(item: Item) -> str:
    """Return the address of an item that is from the web, without who may read it there."""
    if not item.source.startswith(("http://", "https://")):
        return ""
    try:
        parts = urlsplit(item.source)
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    except ValueError:  # it only looks like an address
        return ""
    page = item.metadata.get("page")
    if type(page) is int and not parts.fragment:
        parts = parts._replace(fragment=f"page={page}")
    return parts.geturl()


def _place(item: Item) -> list[tuple[str, int]]:
    """Return the page of a document that an item begins on, or its line."""
    told: Mapping[str, Any] = item.metadata
    return [(name, told[name]) for name in ("page", "line") if type(told.get(name)) is int][:1]


def _steps(item: Item) -> list[str]:
    return [str(step) for place in _place(item) for step in place]


def _quoted(text: str) -> str:
    return quote(text, safe="")

"""The tool `fetch`: a page of the web by its address, from the hosts that the pipeline names.

A model may take the address from a document, so that whoever writes documents chooses it: hence the hosts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

from nexus_core import (
    Item,
    NexusError,
    RunContext,
    SourceError,
    ToolDefinition,
    ToolError,
    ToolResult,
    component,
    hookimpl,
    option,
)
from nexus_core.toolkit import ApartError, DocumentReader, FileOrigin, ReadSettings, call_apart, listed, main_text

if TYPE_CHECKING:
    from nexus_core.toolkit import FetchedPage

_DESCRIPTION = (
    "Read a page or text file of the web. Give the whole address, beginning with https:// or http://. What comes back "
    "is what somebody wrote there, with numbers by which it is cited."
)
_ANY = "*"
_PATTERN = re.compile(r"\*|(?:(?:\*\.)?[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(?:\d{1,5}|\*))?", re.ASCII)
_USUAL_PORTS = (80, 443)
_LONGEST_ADDRESS = 2_000
_MOST_CHARACTERS = 1_000_000
"""Of the text of a page: what follows is left out."""

_log = logging.getLogger(__name__)


@component
class Fetch:
    """Fetches a page or text file by the address that the model gives.

    Only http and https, only the hosts of `hosts`, and no address of a private network unless `allow_private` says so.
    """

    name = "fetch"
    tool_names = ("fetch",)

    hosts: str | tuple[str, ...] = option(
        help="The hosts that may be asked: `example.com`, `*.example.com` (those below it), `example.com:8443`; "
        '`"*"` is any public host.'
    )
    allow_private: bool = option(
        False, help="Also addresses of private networks and of this machine, of hosts that `hosts` has by name."
    )
    max_bytes: int = option(5_000_000, help="What is larger is refused.", ge=1)
    timeout_s: float = option(15.0, help="The time a page may take to come, redirects included, in seconds.", gt=0)
    read_s: float = option(15.0, help="The time that reading it may take, in seconds.", gt=0)
    description: str = option(_DESCRIPTION, help="What the model is told of it.")

    def __attrs_post_init__(self) -> None:
        """Check the patterns; raises ValueError."""
        if not self._patterns:
            raise ValueError('`hosts` is empty: name the hosts that may be asked, or say "*" for any public one')
        for pattern in self._patterns:
            if not _PATTERN.fullmatch(pattern):
                raise ValueError(
                    f"`hosts` has {pattern!r}: write example.com, *.example.com, either with a port as in :8443 or :*, "
                    'or "*" for any public host'
                )

    @property
    def _patterns(self) -> tuple[str, ...]:
        return (self.hosts,) if isinstance(self.hosts, str) else self.hosts

    async def definitions(self, run: RunContext) -> Sequence[ToolDefinition]:
        """Return the one tool."""
        address = {"type": "string", "minLength": 1, "maxLength": _LONGEST_ADDRESS, "description": "The whole address."}
        sought = {"type": "string", "description": "What you look for there: of a long page the parts on it are given."}
        return (
            ToolDefinition(
                name="fetch",
                description=self.description,
                parameters={
                    "type": "object",
                    "properties": {"url": address, "looking_for": sought},
                    "required": ["url"],
                    "additionalProperties": False,
                },
            ),
        )

    async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> ToolResult:
        """Return the main text of the page, in sections, with its address as the source."""
        page = await self._fetched(arguments["url"])
        try:
            items = await call_apart(self.read_s, read_page, page.data, page.suffix, page.url, self.max_bytes)
        except ApartError as error:
            _log.warning("fetch: %s was not read: %s", page.url, error)
            raise ToolError(f"the page could not be read within {self.read_s:g} s") from error
        except (SourceError, NexusError) as error:
            _log.warning("fetch: %s was not read: %s", page.url, error)
            raise ToolError("what is there cannot be read as text here") from error
        if not items:
            raise ToolError("the page has no text")
        kept = _first_of(items)
        left_out = "" if len(kept) == len(items) else "(The page is longer: this is the first part of it.)"
        return ToolResult(text=left_out, items=kept)

    async def _fetched(self, asked: str) -> FetchedPage:
        from nexus_core.toolkit import FetchRules, PageFetchError, fetch_page  # aiohttp

        url = _parsed(asked)
        host, port = url.raw_host.rstrip("."), url.port
        matching = [pattern for pattern in self._patterns if _matches(pattern, host, port)]
        if not matching:
            raise ToolError(f"this host may not be asked: allowed are {listed(self._patterns[:20])}")
        named = [pattern for pattern in self._patterns if pattern != _ANY]
        reaches_private = self.allow_private and matching != [_ANY]
        # Where a private address may be called, it is for hosts with a name here, also behind a redirect.
        allowed = named if reaches_private else self._patterns

        def may_follow(target: str) -> bool:
            next_url = _parsed(target)
            return any(_matches(each, next_url.raw_host.rstrip("."), next_url.port) for each in allowed)

        rules = FetchRules(open_only=not reaches_private, may_follow=may_follow)
        try:
            return await fetch_page(str(url), max_bytes=self.max_bytes, timeout_s=self.timeout_s, rules=rules)
        except PageFetchError as error:
            _log.info("fetch: %s %s", url, error)
            raise ToolError(f"the page {error.why}") from error


def read_page(data: bytes, suffix: str, url: str, max_bytes: int) -> tuple[Item, ...]:
    """Return the items of a page: of HTML its main text; raises SourceError. Called in a process of its own."""
    origin = FileOrigin(name=url, suffix=suffix)
    reader = DocumentReader(ReadSettings(max_bytes=max_bytes))
    return tuple(reader.items(BytesIO(main_text(data, suffix, url)), origin).items)


def _first_of(items: Sequence[Item]) -> tuple[Item, ...]:
    """Return items from the first on, as many as a result may have."""
    kept: list[Item] = []
    size = 0
    for item in items:
        size += len(item.text) + len(item.title)
        if kept and size > _MOST_CHARACTERS:
            break
        kept.append(item)
    return tuple(kept)


def _parsed(text: str) -> Any:
    """Return an address as aiohttp reads it, so that what is checked is what is asked; raises ToolError."""
    parsing: Any = import_module("yarl")
    try:
        url = parsing.URL(text.strip())
        port = url.port
    except ValueError as error:
        raise ToolError("this is no address: give one such as https://example.com/page") from error
    if url.scheme not in ("http", "https") or not url.raw_host or port is None:
        raise ToolError("the address must begin with https:// or http:// and name a host")
    if url.user or url.password:
        raise ToolError("the address must not hold a name or password")
    return url.with_fragment(None)


def _matches(pattern: str, host: str, port: int) -> bool:
    """Tell whether a host, in lower case and ASCII as in a URL, is one of a pattern."""
    if pattern == _ANY:
        return port in _USUAL_PORTS
    name, colon, own = pattern.rpartition(":")
    if not colon or name.count("[") != name.count("]"):
        name, own = pattern, ""
    if own != _ANY and port not in ((int(own),) if own else _USUAL_PORTS):
        return False
    name = name.strip("[]").lower().rstrip(".")
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


@hookimpl
def nexus_tools() -> Iterable[type]:
    """Yield the component."""
    return [Fetch]

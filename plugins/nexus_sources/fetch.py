"""Fetches one page or file from the web: bounded in size and time, and led into no private network by a redirect.

Imports aiohttp, so it is imported by functions only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from attrs import field, frozen

from nexus_core import NexusError, SourceError
from nexus_core.toolkit import ForbiddenAddress, is_forbidden, read_body

MOST_REDIRECTS = 5
SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "application/pdf": ".pdf",
    "text/markdown": ".md",
    "text/x-markdown": ".md",
    "application/json": ".json",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "text/csv": ".csv",
}
"""What the kinds of content are read as; of `text/plain` and unknown kinds the name decides."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "Accept": "text/html,text/markdown,text/plain,application/pdf;q=0.9,*/*;q=0.5",
    "Accept-Encoding": "identity",
    "User-Agent": "contextnexus",
}


class PageGoneError(SourceError):
    """There is no such page (any more)."""


@frozen(kw_only=True)
class FetchedPage:
    """What has come."""

    data: bytes
    suffix: str
    """What it is read as."""
    modified_ns: int
    url: str = ""
    """Where it was in the end."""
    etag: str = ""
    last_modified: str = ""
    same: bool = False
    """It is as it was at the time of the conditions; there are no data then."""
    is_private: bool = False
    """It came from an address of a private network."""


@frozen(kw_only=True)
class FetchRules:
    """What a request is asked with, and where it may lead."""

    conditions: Mapping[str, str] = field(factory=dict)
    """Headers such as `If-None-Match`."""
    open_only: bool = False
    """No address of a private network is called, whatever names it."""
    may_follow: Callable[[str], bool] = lambda url: True
    """Tells whether a redirect may lead to an address."""


async def fetch(url: str, *, max_bytes: int, timeout_s: float, rules: FetchRules = FetchRules()) -> FetchedPage:
    """Return a page; raises SourceError with the reason where it cannot be had, PageGoneError where it is gone."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _followed(url, max_bytes, rules)
    except TimeoutError as error:
        raise SourceError(f"did not come within {timeout_s:g} s") from error
    except aiohttp.ClientError as error:
        raise SourceError(f"cannot be fetched ({_said(error.__cause__ or error)})") from error
    except SourceError:
        raise
    except NexusError as error:
        raise SourceError(f"cannot be fetched: {error}") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be fetched ({error})") from error


def _said(error: BaseException) -> str:
    """Return what an error says, that of the system without its number and the address that was tried."""
    # The numbers of these two are not the system's.
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror | ssl.SSLError) and error.errno:
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


async def _followed(url: str, max_bytes: int, rules: FetchRules) -> FetchedPage:
    # Who names a private address means it; a page of the open web that leads to one does not.
    private = False
    for hop in range(MOST_REDIRECTS + 1):
        addresses: list[str] = []
        check = _checked(addresses, open_only=rules.open_only or (hop > 0 and not private))
        connector = aiohttp.TCPConnector(socket_factory=check, force_close=True)
        async with (
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=_HEADERS | dict(rules.conditions)
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            private = private or (hop == 0 and any(not ip_address(each).is_global for each in addresses))
            if response.status not in _REDIRECTS:
                return await _read_page(response, url, max_bytes, is_private=private)
            url = _redirected(url, response.headers.get("Location", ""))
            if not rules.may_follow(url):
                raise PageGoneError(f"leads by a redirect to {url}, which is not read here")
    raise SourceError(f"leads from one redirect to another, more than {MOST_REDIRECTS} times")


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    parts = urlsplit(target)
    if not location or parts.scheme not in ("http", "https"):
        raise SourceError(f"leads to {parts.scheme or 'nowhere'}:, which is no page")
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise SourceError("leads from https to http, where anybody may change it")
    return target


async def _read_page(response: aiohttp.ClientResponse, url: str, max_bytes: int, *, is_private: bool) -> FetchedPage:
    if response.status == 304:
        return FetchedPage(data=b"", suffix="", modified_ns=0, url=url, same=True, is_private=is_private)
    if response.status != 200:
        said = f"the answer is {response.status} {response.reason or ''}".rstrip()
        if response.status in (404, 410):
            raise PageGoneError(f"is not there: {said}")
        raise SourceError(f"cannot be fetched: {said}")
    data = await read_body(response, max_bytes)
    kind = response.content_type.lower()
    if kind.startswith(("image/", "audio/", "video/", "font/")):
        raise SourceError(f"is no text ({kind})")
    if response.charset and kind.startswith("text/") and response.charset.lower() not in ("utf-8", "utf8"):
        data = _as_utf_8(data, response.charset)
    path = urlsplit(url).path.rsplit("/", 1)[-1].lower()
    own = f".{path.rsplit('.', 1)[1]}" if "." in path else ""
    suffix = ".pdf" if data.startswith(b"%PDF-") else SUFFIXES.get(kind, own)
    said = response.headers.get("Last-Modified", "")
    return FetchedPage(
        data=data,
        suffix=suffix,
        modified_ns=_modified(said),
        url=url,
        etag=response.headers.get("ETag", ""),
        last_modified=said,
        is_private=is_private,
    )


def _as_utf_8(data: bytes, charset: str) -> bytes:
    try:
        return data.decode(charset).encode()
    except (LookupError, UnicodeError):
        return data  # said wrongly: the reader finds out itself


def _modified(text: str) -> int:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        date = datetime.now(UTC)
    return int(date.timestamp()) * 1_000_000_000


def _checked(seen: list[str], *, open_only: bool) -> Callable[[Any], socket.socket]:
    """Return what makes the sockets: called for each address that a name has been resolved to, just before its use."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        if is_forbidden(address[0]):
            raise ForbiddenAddress(None, "link-local, multicast, unspecified and metadata addresses are never called")
        if open_only and not ip_address(address[0].partition("%")[0]).is_global:
            raise ForbiddenAddress(None, "a redirect leads to an address of a private network")
        seen.append(address[0].partition("%")[0])
        return socket.socket(family=family, type=kind, proto=protocol)

    return make

"""Page fetch: one page or file from the web, bounded in size and time, and led into no private network by a redirect.

Imports aiohttp, so it is imported by functions only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from attrs import field, frozen

from nexus_core.contract.errors import NexusError, ResponseTooLargeError, SourceError
from nexus_core.toolkit.documents.charsets import is_charset
from nexus_core.toolkit.http.bodies import read_body
from nexus_core.toolkit.http.session import ForbiddenAddress, is_forbidden, is_public

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


class PageFetchError(SourceError):
    """A page cannot be had; `why` says so without any text of the other side, which a model may be told."""

    def __init__(self, message: str, why: str = "") -> None:
        self.why = why or message
        super().__init__(message)


class PageGoneError(PageFetchError):
    """There is no such page (any more)."""


@frozen(kw_only=True)
class FetchedPage:
    """What has come."""

    data: bytes
    suffix: str
    """What it is read as."""
    modified_ns: int
    """When the server says that it was changed, since 1970; 0 where it does not say."""
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


async def fetch_page(url: str, *, max_bytes: int, timeout_s: float, rules: FetchRules = FetchRules()) -> FetchedPage:
    """Return a page; raises PageFetchError with the reason where it cannot be had, PageGoneError where it is gone.

    Each address that a name resolves to is checked just before it is connected to: link-local, multicast and metadata
    addresses are never called, and those of private networks and of this machine only where `url` itself leads there
    and the rules do not say `open_only`. The limits hold for what has been unpacked, and for all redirects together.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _followed(url, max_bytes, rules)
    except PageFetchError:
        raise
    except TimeoutError as error:
        raise PageFetchError(f"did not come within {timeout_s:g} s") from error
    except aiohttp.ClientError as error:
        cause = error.__cause__ or error
        raise PageFetchError(f"cannot be fetched ({_said(cause)})", _reason(cause)) from error
    except ResponseTooLargeError as error:
        raise PageFetchError(f"cannot be fetched: {error}", f"is larger than {max_bytes:,} bytes") from error
    except NexusError as error:
        raise PageFetchError(f"cannot be fetched: {error}", "cannot be fetched") from error
    except (OSError, ValueError) as error:
        raise PageFetchError(f"cannot be fetched ({error})", _reason(error)) from error


def _said(error: BaseException) -> str:
    """Return what an error says, that of the system without its number and the address that was tried."""
    # The numbers of these two are not the system's.
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror | ssl.SSLError) and error.errno:
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _reason(error: BaseException) -> str:
    """Return why nothing came, in words of the system and of this module alone: an address may have been made up."""
    match error:
        case ForbiddenAddress():
            return f"cannot be fetched: {error.strerror}"
        case socket.gaierror():
            return "cannot be fetched: there is no such host"
        case ssl.SSLError():
            return "cannot be fetched: the TLS connection failed"
        case OSError(errno=int(number)) if number:
            return f"cannot be fetched: {os.strerror(number)}"
    return "cannot be fetched: the answer is not valid HTTP" if isinstance(error, ValueError) else "cannot be fetched"


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
            private = private or (hop == 0 and not all(map(is_public, addresses)))
            if response.status not in _REDIRECTS:
                return await _read_page(response, url, max_bytes, is_private=private)
            url = _redirected(url, response.headers.get("Location", ""))
            if not rules.may_follow(url):
                raise PageGoneError(
                    f"leads by a redirect to {url}, which is not read here",
                    "leads by a redirect to an address that may not be fetched",
                )
    raise PageFetchError(f"leads from one redirect to another, more than {MOST_REDIRECTS} times")


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    parts = urlsplit(target)
    if not location or parts.scheme not in ("http", "https"):
        raise PageFetchError(f"leads to {parts.scheme or 'nowhere'}:, which is no page", "leads to no page of the web")
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise PageFetchError("leads from https to http, where anybody may change it")
    return target


async def _read_page(response: aiohttp.ClientResponse, url: str, max_bytes: int, *, is_private: bool) -> FetchedPage:
    if response.status == 304:
        return FetchedPage(data=b"", suffix="", modified_ns=0, url=url, same=True, is_private=is_private)
    if response.status != 200:
        said = f"the answer is {response.status} {response.reason or ''}".rstrip()
        if response.status in (404, 410):
            raise PageGoneError(f"is not there: {said}", f"is not there: the answer is {response.status}")
        raise PageFetchError(f"cannot be fetched: {said}", f"cannot be fetched: the answer is {response.status}")
    kind = response.content_type.lower()
    if kind.startswith(("image/", "audio/", "video/", "font/")):
        raise PageFetchError(f"is no text ({kind})", f"is no text: it is of a type under {kind.partition('/')[0]}/")
    data = await read_body(response, max_bytes)
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
    if not is_charset(charset):
        return data  # said wrongly: the reader finds out itself
    try:
        return data.decode(charset).encode()
    except UnicodeError:
        return data


def _modified(text: str) -> int:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return 0
    return int(date.timestamp()) * 1_000_000_000


def _checked(seen: list[str], *, open_only: bool) -> Callable[[Any], socket.socket]:
    """Return what makes the sockets: called for each address that a name has been resolved to, just before its use."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        host = address[0].partition("%")[0]
        if is_forbidden(host):
            raise ForbiddenAddress(None, "link-local, multicast, unspecified and metadata addresses are never called")
        if open_only and not is_public(host):
            raise ForbiddenAddress(None, "an address of a private network is not called")
        seen.append(host)
        return socket.socket(family=family, type=kind, proto=protocol)

    return make

"""The session of aiohttp behind `toolkit.http`: which addresses it connects to, and what it notes about connections.

Imports aiohttp, so it is imported by functions only.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp

from nexus_core.contract.errors import ProtocolError

KEEPALIVE_S = 4.0
"""Idle connections are dropped after this time: before the usual 5 s after which small servers close them."""

_METADATA = frozenset(
    map(ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))
)
"""Where clouds keep the credentials of a machine, beside 169.254/16: Alibaba, Azure, Oracle, AWS, Google."""
_READ_ENCODINGS = frozenset({"identity", "gzip", "deflate", "br", "zstd"})
_DECODERS = {"br": "Brotli", "zstd": "backports.zstd"}
"""The packages with which aiohttp reads an encoding (before Python 3.14)."""
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
"""IPv4 addresses in the old writing `::10.0.0.1`, which are routed nowhere."""


def build(headers: Mapping[str, str], connect_s: float, connections: int, *, trust_env: bool) -> aiohttp.ClientSession:
    """Return a session; see `http.open_session`."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=connections, keepalive_timeout=KEEPALIVE_S, socket_factory=_checked_socket
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "contextnexus", **headers},
        timeout=connect_timeout(connect_s),
        trust_env=trust_env,
        response_class=_Response,
    )


@lru_cache(maxsize=16)
def connect_timeout(connect_s: float) -> aiohttp.ClientTimeout:
    """Return a timer for the connection alone."""
    return aiohttp.ClientTimeout(
        total=None, connect=connect_s, sock_connect=connect_s, sock_read=None, ceil_threshold=1e9
    )


class ForbiddenAddress(OSError):
    """No model service is at such an address."""


def is_forbidden(host: str) -> bool:
    """Tell whether an address is link-local, multicast, unspecified or a cloud's metadata service, however written."""
    address = _plain(ip_address(host))
    return address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA


def is_public(host: str) -> bool:
    """Tell whether an address is of the public internet: no private network's, not this machine's, however written."""
    address = _plain(ip_address(host))
    return address.is_global and not address.is_multicast and address not in _METADATA and address not in _COMPATIBLE


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address carries, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _checked_socket(info: tuple[Any, ...]) -> socket.socket:
    # Called for each address that a name was resolved to, just before it is connected to, and for no kept connection:
    # a name that resolves to something else the second time is seen.
    family, kind, protocol, _, address = info
    if is_forbidden(address[0]):
        raise ForbiddenAddress(None, "link-local, multicast, unspecified and metadata addresses are never called")
    return socket.socket(family=family, type=kind, proto=protocol)


class _Response(aiohttp.ClientResponse):
    # Nothing else sees the connection of a request that got no answer, and only an error on a connection that had
    # served before says nothing about the service.
    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        memory = connection.protocol.__dict__
        encoding = ""
        try:
            await super().start(connection)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            error.__dict__["stale"] = "served" in memory and isinstance(getattr(error, "message", ""), str)
            raise
        except aiohttp.ClientResponseError as error:
            encoding = _no_decoder(error.message)
            if not encoding:
                error.__dict__["no_content"] = _begins_with_204(error)
                raise
        else:
            encoding = _unread_encoding(self.headers.get("Content-Encoding", "")) if self.status < 300 else ""
        if encoding:  # out here, so that the headers of the request do not stay in the chain
            raise ProtocolError(
                f"the answer is compressed as {encoding}, which was not asked for and cannot be read here"
                + (f": install {_DECODERS[encoding]}" if encoding in _DECODERS else ""),
                code="encoding",
            )
        memory["served"] = True
        return self


def _no_decoder(message: str) -> str:
    """Return the encoding for which aiohttp has no decoder, by its error; empty where the error is another one."""
    found = re.search(r"content-encoding: \w+ \((br|zstd)\)", message)
    return found[1] if found else ""


def _unread_encoding(header: str) -> str:
    """Return a content encoding that aiohttp passes on as it is, shown safely; empty where there is none."""
    encoding = header.strip().lower()
    if not encoding or encoding in _READ_ENCODINGS:
        return ""
    return encoding if re.fullmatch(r"[\w.,\- ]{1,40}", encoding, re.ASCII) else "something unknown"


def _begins_with_204(error: BaseException | None) -> bool:
    """Tell whether what was no HTTP began with a status 204: its body, against the rules, is read as a second answer.

    aiohttp (3.14) drops the first with it, so that what came is left in the frames of the error alone.
    """
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            data = traceback.tb_frame.f_locals.get("data")
            if isinstance(data, bytes) and data.startswith((b"HTTP/1.1 204", b"HTTP/1.0 204")):
                return True
            traceback = traceback.tb_next
        error = error.__cause__
    return False


def is_full(session: aiohttp.ClientSession) -> bool:
    """Tell whether all connections of a session are in use."""
    connector = session.connector
    return connector is not None and 0 < connector.limit <= len(connector._acquired)

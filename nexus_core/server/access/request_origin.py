"""Origin of a request: the host it names, the page it is from, proxies it passed, the client's address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network
from unicodedata import normalize
from urllib.parse import urlsplit

from aiohttp import web

from nexus_core.server.errors import Failure

_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")
_PORTS = {"http": "80", "https": "443"}
_SECRETS = (
    "key", "token", "auth", "authorization", "authentication", "secret", "password", "passwd", "passphrase", "pwd",
    "bearer", "credential", "jwt", "pass", "passcode", "pw", "cred", "authn", "authz", "authorisation", "keyid", "sig",
    "signature", "session", "sessionid",
)  # fmt: skip
"""How names of parameters end that hold what nobody else may know."""
_OWN_KEY = re.compile("cnx_[0-9A-Za-z]{8}_")
"""How our keys begin, whatever the parameter is named."""
_OF_PROXIES = re.compile(
    r"(?:x[-_])?(?:original[-_])?forwarded(?:[-_].*)?|via|cdn-loop|cf-.*|tailscale-.*|x-original-(?:host|url)"
    r"|(?:[a-z]+[-_])*(?:client|real|remote|originating|proxyuser|connecting|external|cluster)[-_]?(?:ip|address)"
)
"""The names of headers by which proxies say for whom they ask."""


def check_host(request: web.Request) -> None:
    """Refuse requests for other names than this machine's: a page of another host can point its name here."""
    hosts = request.headers.getall("Host", ())
    if len(hosts) != 1 or not is_local(hosts[0]) or not is_local(request.host):
        raise Failure(421, "wrong_host", "this server listens on this machine alone: ask it as localhost")


def check_origin(request: web.Request, scheme: str) -> None:
    """Refuse requests from pages of any other scheme, host and port than those that were asked."""
    origins = request.headers.getall("Origin", ())
    if not origins:
        return
    hosts = request.headers.getall("Host", ())
    asked = _place(f"{scheme}://{hosts[0]}") if len(hosts) == 1 else None
    if len(origins) > 1 or asked is None or _place(origins[0]) != asked:
        said = "this server takes requests from its own page alone: of the scheme, host and port that are asked"
        raise Failure(403, "wrong_origin", said)


def check_address(request: web.Request) -> None:
    """Refuse keys in the address: it ends in the logs of whatever is on the way."""
    if request.query_string and any(map(_may_be_secret, request.query.items())):
        raise Failure(400, "key_in_address", "a key in an address ends in logs: send it as Authorization: Bearer KEY")


def came_by_proxy(names: Iterable[str]) -> bool:
    """Tell by the names of a request's headers whether a proxy has handed it on."""
    return any(map(_OF_PROXIES.fullmatch, map(str.lower, names)))


def is_secret(name: str) -> bool:
    """Tell whether the name of a parameter is one for keys, as `api_key`, `X-Auth-Token` and `accessKeys` are."""
    letters = "".join(filter(str.isalpha, normalize("NFKC", name).casefold()))
    return letters.removesuffix("s").endswith(_SECRETS) or letters.endswith(_SECRETS)


def is_local(host: str) -> bool:
    """Tell whether a host, with or without a port, is this machine by name; anything odd is not."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["name"].strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _may_be_secret(parameter: tuple[str, str]) -> bool:
    return is_secret(parameter[0]) or any(map(_OWN_KEY.search, parameter))


def _place(origin: str) -> tuple[str, str, str] | None:
    """Return scheme, host and port of an origin, `None` where it is none."""
    try:
        scheme, host, *rest = urlsplit(origin)
    except ValueError:
        return None
    found = _HOST.fullmatch(host)
    if found is None or scheme not in _PORTS or any(rest):
        return None
    return scheme, found["name"].lower(), (found["port"] or _PORTS[scheme]).lstrip("0")


HERE = ""
"""What this machine's own addresses count as: a proxy on it brings everybody from there."""


def origin_of(address: str) -> str:
    """Return what an address counts as: itself, `HERE`, or of IPv6 its network, all of which one client may have."""
    if address.startswith("127."):  # nearly always, behind a proxy
        return HERE
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_loopback:
        return HERE
    return str(found) if found.version == 4 else str(ip_network((int(found) >> 64 << 64, 64)))

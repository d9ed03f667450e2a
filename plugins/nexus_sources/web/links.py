"""Addresses of pages: their canonical form, which of them a site is searched by, and those that a page links to.

A page of a stranger is searched here, so that all of it takes time in proportion to its size.
"""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from posixpath import normpath
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit, urlunsplit

from attrs import define, field, frozen

_TAG = re.compile(r"<(a|area|base|link|meta)\s([^<>]{1,4000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""(?<![\w-])([a-z-]++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.IGNORECASE)
_SESSION = re.compile(
    r"(?:utm_\w+|gclid|fbclid|msclkid|mc_[ce]id|phpsessid|jsessionid|aspsessionid\w*|sid|sessionid)\Z", re.IGNORECASE
)
_SESSION_IN_PATH = re.compile(r";jsessionid=[^/]*", re.IGNORECASE)
_UNREAD = frozenset(
    "png jpg jpeg gif webp svg ico bmp avif css js mjs map json woff woff2 ttf eot mp3 mp4 m4a ogg wav avi mov webm zip"
    " gz tar tgz bz2 xz 7z rar exe dmg iso deb rpm apk jar bin whl".split()
)
"""Endings of addresses that lead to nothing that is read."""
_PORTS = {"http": 80, "https": 443}
_LONGEST = 2_000
_MOST_LINKS = 5_000
_MOST_REPEATS = 2
"""How often a folder may come in a path: calendars and relative links lead ever deeper."""
MOST_QUERIES = 50
"""Of one path, so many queries are taken: the rest are likely orders and filters of the same."""


@frozen(kw_only=True)
class PageLinks:
    """What a page says of itself and of others."""

    links: tuple[str, ...] = ()
    """Canonical addresses, in the order of the page."""
    canonical: str = ""
    """The address that it gives for itself."""
    may_index: bool = True
    may_follow: bool = True


def canonical(url: str) -> str:
    """Return the form of an address that all spellings of it have; empty for what is no page of the web."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return ""
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower().rstrip(".")
    if scheme not in _PORTS or not host or len(url) > _LONGEST:
        return ""
    host = f"[{host}]" if ":" in host else host
    netloc = host if port in (None, _PORTS[scheme]) else f"{host}:{port}"
    path = _SESSION_IN_PATH.sub("", parts.path) or "/"
    folder = path.endswith(("/", "/.", "/.."))
    path = normpath("/" + path.lstrip("/"))
    path = quote(unquote(path, errors="surrogateescape"), safe="/:@!$&'()*+,;=~-._", errors="surrogateescape")
    path += "/" if folder and path != "/" else ""
    pairs = [(key, value) for key, value in parse_qsl(parts.query, True) if not _SESSION.match(key)]
    return urlunsplit((scheme, netloc, path, urlencode(pairs), ""))


def read_links(data: bytes, url: str) -> PageLinks:
    """Return the links of an HTML page, and what it says about being searched."""
    text = data.decode("utf-8", "replace")
    base, links, own, rules = url, dict[str, None](), "", ""
    for tag in _TAG.finditer(text):
        said = {name.lower(): unescape(a or b or c) for name, a, b, c in _ATTRIBUTE.findall(tag[2])}
        name, target = tag[1].lower(), said.get("href", "")
        if name == "base" and target:
            base = _joined(url, target) or base
        elif name == "link" and "canonical" in said.get("rel", "").lower().split():
            own = canonical(_joined(base, target))
        elif name == "meta" and said.get("name", "").lower() in ("robots", "contextnexus"):
            rules += f",{said.get('content', '').lower()}"
        elif name in ("a", "area") and target and "nofollow" not in said.get("rel", "").lower():
            found = canonical(_joined(base, target))
            if found and len(links) < _MOST_LINKS:
                links[found] = None
    words = {word.strip() for word in rules.split(",")}
    return PageLinks(
        links=tuple(links),
        canonical=own,
        may_index=not words & {"noindex", "none"},
        may_follow=not words & {"nofollow", "none"},
    )


def _joined(base: str, target: str) -> str:
    try:
        return urljoin(base, target.strip())
    except ValueError:
        return ""


@define(eq=False, repr=False)
class SiteScope:
    """Decides which addresses are pages of a site: those below where it begins, and no endless ones."""

    start: str
    """Canonical."""
    _queries: Counter[str] = field(factory=Counter)

    @property
    def within(self) -> str:
        """What the addresses of all pages begin with: the folder of the start."""
        parts = urlsplit(self.start)
        return urlunsplit((parts.scheme, parts.netloc, parts.path.rpartition("/")[0] + "/", "", ""))

    def holds(self, url: str) -> bool:
        """Tell whether a canonical address is one of the site, whatever its form."""
        return url == self.start or url.startswith(self.within)

    def takes(self, url: str) -> bool:
        """Tell whether a new address is to be read: it is of the site, and is not likely a trap."""
        path = urlsplit(url).path
        ending = path.rpartition(".")[2].lower() if "." in path.rpartition("/")[2] else ""
        repeats = Counter(part for part in path.split("/") if part)
        if not self.holds(url) or ending in _UNREAD or max(repeats.values(), default=0) > _MOST_REPEATS:
            return False
        if "?" not in url:
            return True
        self._queries[path] += 1
        return self._queries[path] <= MOST_QUERIES

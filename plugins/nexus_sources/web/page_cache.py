"""Pages that were fetched, in a folder: so that unchanged ones are not sent again, and an interrupted crawl goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import attrs
from attrs import define, frozen

GOES_ON_S = 86_400.0
"""An interrupted round goes on within this time; after it all pages are asked for again."""
_ROUND = "round.json"


@frozen(kw_only=True)
class CachedPage:
    """What is known of a page."""

    url: str
    digest: str
    """Of its bytes, by which they are kept."""
    suffix: str = ""
    modified_ns: int = 0
    etag: str = ""
    last_modified: str = ""
    listed: str = ""
    """When it was last changed, as a sitemap has it."""
    checked: float = 0.0
    """When it was last asked for, in seconds since the epoch."""
    links: tuple[str, ...] = ()
    canonical: str = ""
    may_index: bool = True

    @property
    def conditions(self) -> dict[str, str]:
        """The headers by which a server is asked whether it has changed."""
        told = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in told.items() if value}


@define(eq=False, repr=False)
class PageCache:
    """The pages of one site."""

    folder: Path
    now: Callable[[], float] = time.time

    def begin_round(self) -> float:
        """Return when the round began that is under way: now, or before where that one was interrupted."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = self._read_json(self.folder / _ROUND)
        began = before.get("began", 0.0)
        if before.get("ended") or not 0.0 <= self.now() - began < GOES_ON_S:
            began = self.now()
            self._write(self.folder / _ROUND, json.dumps({"began": began, "ended": False}).encode())
        return float(began)

    def end_round(self, began: float) -> None:
        """Note that the round has come to its end."""
        self._write(self.folder / _ROUND, json.dumps({"began": began, "ended": True}).encode())

    def page(self, url: str) -> CachedPage | None:
        """Return what is known of a page."""
        said = self._read_json(self._place(url, "json"))
        try:
            page = CachedPage(**{**said, "links": tuple(said.get("links", ()))})
        except TypeError:  # of another version
            return None
        return page if page.url == url and self._place(url, "body").exists() else None

    def keep(self, page: CachedPage, data: bytes | None = None) -> None:
        """Keep what is known of a page, and its bytes where they are new."""
        if data is not None:
            self._write(self._place(page.url, "body"), data)
        self._write(self._place(page.url, "json"), json.dumps(attrs.asdict(page)).encode())

    def body(self, url: str) -> bytes | None:
        """Return the bytes of a page."""
        try:
            return self._place(url, "body").read_bytes()
        except OSError:
            return None

    def forget(self, url: str) -> None:
        """Forget a page that is gone."""
        for ending in ("json", "body"):
            self._place(url, ending).unlink(missing_ok=True)

    def _place(self, url: str, ending: str) -> Path:
        return self.folder / f"{digest_of(url.encode('utf-8', 'surrogateescape'))[:32]}.{ending}"

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file as a whole: another process may read it, and this one may be ended."""
        with NamedTemporaryFile(dir=self.folder, prefix=".new-", delete=False) as file:
            file.write(data)
        os.replace(file.name, path)


def digest_of(data: bytes) -> str:
    """Return by what bytes are known again."""
    return sha256(data).hexdigest()

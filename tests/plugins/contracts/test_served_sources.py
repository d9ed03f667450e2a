"""The sources of what a service has keep the contract of sources: each service is a real one, on this machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from hashlib import sha256
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from xml.sax.saxutils import escape as escape_xml

import pytest
from nexus_sources.mail.mailbox import Mailbox
from nexus_sources.remote.sql import Sql
from nexus_sources.url import Url
from nexus_sources.web.feed import Feed
from nexus_sources.web.site import Site

from nexus_core import Secret, Source
from nexus_core.testing import SourceContract
from tests.plugins.sources.imap_server import MailAccount, serve_mail

pytestmark = pytest.mark.slow

CHANGED = "The ferry leaves at ten."
TYPES = {".html": "text/html; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".xml": "application/rss+xml"}


class FolderRequestHandler(BaseHTTPRequestHandler):
    """Serves the files of a folder, each with a tag of its bytes."""

    def __init__(self, folder: Path, *told: Any) -> None:
        self._folder = folder
        super().__init__(*told)

    def do_GET(self) -> None:
        """Send the file, `index.html` for a folder; that it is unchanged; or that there is none."""
        path = self._folder / (self.path.strip("/") or "index.html")
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        data = path.read_bytes()
        tag = f'"{sha256(data).hexdigest()}"'
        same = self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if same else HTTPStatus.OK)
        self.send_header("ETag", tag)
        self.send_header("Content-Type", TYPES[path.suffix])
        self.send_header("Content-Length", "0" if same else str(len(data)))
        self.end_headers()
        self.wfile.write(b"" if same else data)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; gives the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(FolderRequestHandler, folder)) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class ServedContract(SourceContract):
    """The suite of a source that reads what a server has in the folder `served` of the test."""

    @pytest.fixture(autouse=True)
    def _serve(self, tmp_path: Path) -> Iterator[None]:
        (tmp_path / "served").mkdir()
        with served(tmp_path / "served") as self._url:
            yield


class TestUrl(ServedContract):
    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        (folder / "served/notes.txt").write_text("\n\n".join(texts), "utf-8")
        return Url(url=f"{self._url}/notes.txt", sections=False)

    def make_broken(self, folder: Path) -> Source:
        return Url(url=f"{self._url}/nowhere.txt")

    def change(self, folder: Path) -> None:
        (folder / "served/notes.txt").write_text(CHANGED, "utf-8")


class TestSite(ServedContract):
    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        for number, text in enumerate(texts):
            self._write(folder, number, text)
        links = "".join(f"<a href='{number}.html'>note {number}</a> " for number in range(len(texts)))
        (folder / "served/index.html").write_text(f"<title>Notes</title><p>{links}", "utf-8")
        return Site(
            url=f"{self._url}/", delay_s=0, refresh_s=0, sections=False, main_only=False, cache=str(folder / "cache")
        )

    def make_broken(self, folder: Path) -> Source:
        return Site(url=f"{self._url}/nowhere/", delay_s=0, cache=str(folder / "cache"))

    def change(self, folder: Path) -> None:
        self._write(folder, 0, CHANGED)

    def _write(self, folder: Path, number: int, text: str) -> None:
        (folder / f"served/{number}.html").write_text(f"<title>note {number}</title><p>{escape(text)}", "utf-8")


class TestFeed(ServedContract):
    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        self._write(folder, texts)
        return Feed(url=f"{self._url}/feed.xml", refresh_s=0, sections=False, cache=str(folder / "cache"))

    def make_broken(self, folder: Path) -> Source:
        return Feed(url=f"{self._url}/nowhere.xml", cache=str(folder / "cache"))

    def change(self, folder: Path) -> None:
        self._write(folder, [CHANGED])

    def _write(self, folder: Path, texts: Sequence[str]) -> None:
        entries = "".join(
            f"<item><guid>{number}</guid><title>Note {number}</title>"
            f"<description>{escape_xml(f'<p>{escape(text)}</p>')}</description></item>"
            for number, text in enumerate(texts)
        )
        feed = f"<rss version='2.0'><channel><title>Notes</title>{entries}</channel></rss>"
        (folder / "served/feed.xml").write_text(feed, "utf-8")


class TestMailbox(SourceContract):
    @pytest.fixture(autouse=True)
    def _serve(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with serve_mail(tmp_path) as (self._account, authority):
            monkeypatch.setenv("SSL_CERT_FILE", authority)
            yield

    _account: MailAccount

    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        for uid, text in enumerate(texts, 1):
            self._account.post(uid, f"Note {uid}", text)
        return self._mailbox(folder)

    def make_broken(self, folder: Path) -> Source:
        return self._mailbox(folder, password=Secret("another"))

    def change(self, folder: Path) -> None:
        self._account.post(9, "Note 9", CHANGED)

    def _mailbox(self, folder: Path, **options: Any) -> Mailbox:
        told = {"host": "localhost", "user": "ada", "port": self._account.port, "cache": str(folder / "cache")}
        secret = {"password": Secret(self._account.password)}
        return Mailbox(**{**told, **secret, "refresh_s": 0, "sections": False, **options})


class TestSql(SourceContract):
    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        with closing(sqlite3.connect(folder / "notes.db")) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, body TEXT)")
            connection.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", enumerate(texts))
        return self._rows(folder / "notes.db")

    def make_broken(self, folder: Path) -> Source:
        return self._rows(folder / "nowhere.db")

    def change(self, folder: Path) -> None:
        with closing(sqlite3.connect(folder / "notes.db")) as connection, connection:
            connection.execute("UPDATE notes SET body = ? WHERE id = 0", (CHANGED,))

    def _rows(self, path: Path) -> Sql:
        return Sql(url=f"sqlite:///{path}", query="SELECT id, body FROM notes ORDER BY id", text="body", refresh_s=0)

"""`nexus context sync`: what a context was made from, read again by its own settings; and `nexus serve --sync`."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core import DocumentMark, DocumentRead, Item, Store
from nexus_core.cli.context_sync import ContextSync, repeat, serve_sync, sync_turn
from nexus_core.cli.main import main
from nexus_core.store import origins

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Nexus:
    """Run a command in a folder with `docs`; return exit code, stdout and stderr."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "leave.md").write_text("# Leave\n\nEverybody has 28 days.\n")
    (tmp_path / "docs" / "draft.md").write_text("not yet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capfdbinary.readouterr()
        return int(ended.value.code or 0), out.decode(), err.decode()

    return run


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., None]:
    """Commit files to the repository `project`."""
    folder = tmp_path / "project"

    def commit(**files: str) -> None:
        if not folder.exists():
            subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
        for name, text in files.items():
            (folder / f"{name}.md").write_text(text)
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(folder), "add", "--all"], check=True)
        subprocess.run(["git", "-C", str(folder), *who, "commit", "--quiet", "--message", "a change"], check=True)

    return commit


def test_a_folder_is_read_again_as_it_was_added(nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its tags and patterns, from whichever folder; what is gone is removed and reported."""
    assert nexus("context", "add", "handbook", "docs", "--tag", "hr", "--exclude", "draft*")[0] == 0
    (tmp_path / "docs" / "travel.md").write_text("Second class.")
    monkeypatch.chdir(tmp_path / "docs")
    code, out, _ = nexus("context", "sync", "handbook")
    assert (code, "1 of 2 documents read" in out, "1 unchanged" in out) == (0, True, True)
    assert "docs/travel.md" in nexus("context", "search", "handbook", "class", "--tag", "hr")[1]
    (tmp_path / "docs" / "leave.md").unlink()
    assert "1 pruned; items: 1 removed" in nexus("context", "sync")[1]
    assert "leave" not in nexus("context", "show", "handbook", "--json")[1]


def test_a_folder_that_cannot_be_found_is_not_gone(nexus: Nexus, tmp_path: Path) -> None:
    """A disk may be missing: its documents stay, the rest is read, and the exit code tells of it."""
    nexus("context", "add", "handbook", "docs")
    nexus("context", "add", "other", "docs/leave.md")
    (tmp_path / "docs").rename(tmp_path / "moved")
    code, _, err = nexus("context", "sync", "handbook")
    assert (code, "there is no file or folder" in err) == (1, True)
    assert "docs/leave.md" in nexus("context", "show", "handbook")[1]
    (tmp_path / "moved").rename(tmp_path / "docs")
    assert nexus("context", "sync")[0] == 0


def test_no_prune_keeps_what_is_gone(nexus: Nexus, tmp_path: Path) -> None:
    """It is told of, and stays."""
    nexus("context", "add", "handbook", "docs")
    (tmp_path / "docs" / "draft.md").unlink()
    (report,) = json.loads(nexus("context", "sync", "--no-prune", "--json")[1])
    assert (report["context"], report["pruned"], report["vanished"]) == ("handbook", 0, ["docs/draft.md"])


def test_an_address_of_a_repository_is_added_and_read_again(
    nexus: Nexus, tmp_path: Path, project: Callable[..., None]
) -> None:
    """By its revision and paths; only what has another content is read."""
    project(a="one", b="two")
    address = f"git+file://{tmp_path}/project@main#*.md"
    assert "2 of 2 documents read" in nexus("context", "add", "code", address)[1]
    project(a="three")
    code, out, _ = nexus("context", "sync", "code")
    assert (code, "1 of 2 documents read" in out, "1 unchanged" in out) == (0, True, True)
    assert "project/a.md" in nexus("context", "search", "code", "three")[1]


def test_options_of_a_source_stand_beside_its_address(nexus: Nexus, tmp_path: Path) -> None:
    """Checked as those of a pipeline are, kept with the context, and with another name where one is given."""
    address = f"file://{tmp_path}/docs"
    code, _, err = nexus("context", "add", "bucket", address, "--set", "path=leave*")
    assert (code, "did you mean 'paths'" in err) == (2, True)
    assert nexus("context", "add", "bucket", address, "--set", "paths=leave*", "--as", "hr")[0] == 0
    (tmp_path / "docs" / "leaves.md").write_text("Trees have them.")
    assert "1 of 2 documents read" in nexus("context", "sync", "bucket")[1]
    assert "hr/leaves.md" in nexus("context", "show", "bucket")[1]


def test_rows_of_a_database_are_added_and_read_again(nexus: Nexus, tmp_path: Path) -> None:
    """Relative to the folder in which it was added; a row that is gone is an item that is gone."""

    def execute(statement: str) -> None:
        connection = sqlite3.connect(tmp_path / "shop.db")
        with connection:
            connection.execute(statement)
        connection.close()

    execute("CREATE TABLE tickets (id INTEGER, title TEXT, body TEXT)")
    execute("INSERT INTO tickets VALUES (17, 'Lift', 'Out of order.'), (18, 'Printer', 'No paper.')")
    options = ("--set", "query=SELECT * FROM tickets", "--set", "text={{ title }}: {{ body }}")
    assert "2 new" in nexus("context", "add", "tickets", "sqlite:///shop.db", *options)[1]
    execute("DELETE FROM tickets WHERE id = 18")
    code, out, _ = nexus("context", "sync", "tickets")
    assert (code, "1 removed" in out) == (0, True)
    assert "shop/17" in nexus("context", "search", "tickets", "lift order")[1]


def test_how_large_a_file_may_be_is_said_for_a_folder_and_kept(nexus: Nexus, tmp_path: Path) -> None:
    """What was too large is read once it may be, also by a sync, which knows what was said last."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "long.md").write_text("# Long\n" + "The lift is repaired in May. " * 9)
    (tmp_path / "papers" / "short.md").write_text("# Short\nThe lift is old.")
    code, out, err = nexus("context", "add", "house", "papers", "--set", "max_bytes=100")
    assert (code, "1 of 2 documents" in out, "left out: raise `max_bytes`" in out + err) == (0, True, True), out + err
    assert "items: none new" in nexus("context", "sync", "house")[1]
    code, out, err = nexus("context", "add", "house", "papers", "--set", "max_bytes=1_000")
    assert (code, "items: 1 new" in out) == (0, True), out + err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("git+https://me:secret@example.com/a.git",), "holds a password"),
        (("git+https://example.com/a.git", "--set", "token=secret"), "a secret would be kept"),
        (("s3://bucket/docs", "--set", "storage={endpoint_url: 'https://me:secret@x'}"), "holds a password"),
        (("s3://bucket/docs", "--set", "storage={key: AK, secret: hidden}"), "a secret would be kept"),
        (("s3://bucket/docs", "--set", "storage.secret=hidden"), "a secret would be kept"),
        (("acme+https://example.com",), "no source reads acme"),
        (("inline+https://example.com",), "is not made from an address"),
        (("docs", "--set", "paths=a"), "--set is for addresses"),
        (("docs", "--set", "max_bytes=50MB"), "as in max_bytes=50000000"),
    ],
    ids=[
        "password",
        "token",
        "address in option",
        "mapping",
        "key of mapping",
        "unknown",
        "no address",
        "folder",
        "size",
    ],
)
def test_what_would_be_kept_as_a_secret_is_refused(nexus: Nexus, arguments: tuple[str, ...], reason: str) -> None:
    """Nothing is made, and no secret is in the message."""
    code, out, err = nexus("context", "add", "code", *arguments)
    assert (code, reason in err, "hidden" in out + err, "secret@" in out + err) == (2, True, False, False)
    assert nexus("context", "list", "--json")[1].strip() == "[]"


def test_a_variable_is_kept_by_its_name(
    nexus: Nexus, tmp_path: Path, project: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its value is looked up with each round, and is nowhere in the store."""
    project(a="one")
    monkeypatch.setenv("GIT_TOKEN", "hunter2")
    address = f"git+file://{tmp_path}/project"
    assert nexus("context", "add", "code", address, "--set", "token=${GIT_TOKEN}")[0] == 0
    monkeypatch.setenv("GIT_TOKEN", "hunter3")
    assert nexus("context", "sync", "code")[0] == 0
    with sqlite3.connect(tmp_path / "store" / "store.db") as connection:
        ((settings,),) = connection.execute("SELECT settings FROM origins").fetchall()
    connection.close()
    assert ("${GIT_TOKEN}" in settings, "hunter" in settings) == (True, False)
    monkeypatch.delenv("GIT_TOKEN")
    code, _, err = nexus("context", "sync", "code")
    assert (code, "GIT_TOKEN" in err) == (1, True)


def test_what_was_piped_in_is_left_as_it_is(nexus: Nexus) -> None:
    """It is no failure, and is told with what to do."""
    nexus("context", "add", "notes", "-", stdin=b"a thought")
    code, _, err = nexus("context", "sync", "notes")
    assert (code, "was left as it is" in err, "add it again" in err) == (0, True, True)


async def test_what_a_program_has_ingested_is_left_as_it_is(tmp_path: Path) -> None:
    """Its origin says nothing of how it is read."""

    class Archive:
        problems = ()

        def documents(self) -> list[DocumentMark]:
            return [DocumentMark(name="17")]

        def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
            return DocumentRead(items=[Item(id=mark.name, text="The lift is out of order.")], digest="1")

    async with Store(tmp_path / "store") as store:
        await store.create("tickets")
        await store.ingest("tickets", Archive(), origin="tickets.example.com")
        (done,) = await ContextSync(store=store).run()
    assert (bool(done.left_alone), done.has_failed) == (True, False)


async def test_rounds_come_when_they_are_due(tmp_path: Path) -> None:
    """By the clock, with what has changed in between where files are watched."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("one")
    now, rounds = [0.0], list[Any]()

    async def pause(seconds: float) -> None:
        now[0] += seconds
        if now[0] == 4.0:
            (docs / "b.md").write_text("two")
        if now[0] > 10.0:
            raise asyncio.CancelledError

    async with Store(tmp_path / "store") as store:
        await store.create("handbook")
        sync = ContextSync(store=store)
        await _added(store, docs)
        await sync.run()

        async def work(only: Any) -> None:
            rounds.append((now[0], only and sorted(only)))
            await sync.run(only=only)

        with pytest.raises(asyncio.CancelledError):
            await repeat(work, sync, every_s=9.0, watch=True, pause=pause, clock=lambda: now[0])
    watched = [when for when, only in rounds if only]
    assert watched[0] == 4.0
    assert (9.0, None) in rounds


async def test_a_server_says_what_it_has_synced_and_what_failed(tmp_path: Path) -> None:
    """One at a time: where another process is at it, nothing is done."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("one")
    said: list[str] = []
    async with Store(tmp_path / "store") as store:
        await store.create("handbook")
        await _added(store, docs)
        with sync_turn(store.folder):
            await _one_round(store, said)
        assert said == []
        (docs / "b.md").write_text("two")
        await _one_round(store, said)
        (docs / "b.md").unlink()
        docs.rename(tmp_path / "moved")
        await _one_round(store, said)
    assert "1 document read and 0 pruned" in said[0]
    assert "could not be read: there is no file or folder" in said[1]


async def _one_round(store: Store, said: list[str]) -> None:
    async def stop(seconds: float) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await serve_sync(store, 3600.0, said.append, pause=stop)


async def _added(store: Store, docs: Path) -> None:
    """Add a folder as `nexus context add` does."""
    from nexus_core.cli.commands.context.inputs import place_of

    place = place_of(str(docs), (), called=None)
    assert place.settings is not None
    await store.write(origins.keep, "handbook", place.origin, place.settings)
    await store.ingest("handbook", place.source, origin=place.origin, within=place.within)

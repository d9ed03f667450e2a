"""Files that clients send into a context."""

from __future__ import annotations

import gzip
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from nexus_core.contract.components import Kind
from nexus_core.contract.run_context import Viewer
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.server.settings import ServerLimits
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.store import Store
from nexus_core.store.store_view import StoreView

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Running, Start

DOCUMENTS = "/api/contexts/handbook/documents"
TRAVEL = b"# Travel\n\nTrains in second class.\n\n## Hotels\n\nUp to 120 euros a night.\n"


def form(*files: tuple[str, bytes]) -> aiohttp.FormData:
    found = aiohttp.FormData()
    for name, data in files:
        found.add_field("file", data, filename=name, content_type="application/octet-stream")
    return found


async def send(running: Running, name: str, data: bytes, **more: Any) -> tuple[int, Any]:
    return await running.call("POST", DOCUMENTS, params={"name": name, **more}, data=data)


async def search(running: Running, query: str) -> dict[str, Any]:
    _, told = await running.call("POST", "/api/contexts/handbook/search", json={"query": query, "limit": 1})
    item: dict[str, Any] = told["found"][0]["item"]
    return item


async def test_file_as_the_body_becomes_items(running: Running) -> None:
    """They are found, carry the tags, and say by the name of the document where they are from."""
    status, told = await send(running, "docs/travel.md", TRAVEL, tag=["travel", "2026"])
    assert (status, told["read"], told["items"]["new"], told["failed"]) == (200, 1, 1, [])
    item = await search(running, "hotels euros")
    assert (item["id"].startswith("docs/travel.md"), item["source"]) == (True, "docs/travel.md")
    assert {"travel", "2026"} <= set(item["tags"])
    _, listed = await running.call("GET", DOCUMENTS)
    assert [(each["name"], each["size"]) for each in listed["documents"]] == [("docs/travel.md", len(TRAVEL))]


async def test_readers_of_a_file_narrow_those_of_its_context(running: Running) -> None:
    """They hold when it is sent again without any, and what the file itself says narrows them further."""
    status, _ = await send(running, "pay.md", TRAVEL, readers=["group:hr", "group:it"])
    assert (status, (await search(running, "hotels"))["readers"]) == (200, ["group:hr", "group:it"])
    await send(running, "pay.md", b"---\nreaders: [group:it, group:all]\n---\n# Pay\n\nHotels are paid.\n")
    assert (await search(running, "hotels"))["readers"] == ["group:it"]
    await running.store.grant("handbook", ["group:staff"])
    for groups, count in ((("group:it",), 0), (("group:staff",), 3), (("group:staff", "group:it"), 4)):
        seen = await running.store.contexts(viewer=Viewer(groups=frozenset(groups)))
        assert sum(context.items for context in seen) == count
    await running.call("DELETE", f"{DOCUMENTS}/pay.md")
    await send(running, "pay.md", TRAVEL)
    assert "readers" not in await search(running, "hotels")


async def test_who_is_bound_to_tags_lists_documents_whose_items_all_have_one(running: Running) -> None:
    """None of which anything is hidden, none that was not read, and no more rows are fetched where more is hidden."""
    lines = b'{"id": "a", "text": "Canteen opens at noon."}\n{"id": "b", "text": "Parking is free."}\n'
    for name, data in (("all.md", TRAVEL), ("part.jsonl", lines)):
        await send(running, name, data, tag=["public", "travel"])
    assert await running.store.tag("handbook", ["a"], remove=["public"]) == 1
    viewer = Viewer(tags=frozenset({"public", "other"}))
    counts = [await fetched(running.store, viewer)]
    for number in range(5):
        await send(running, f"{number}.md", TRAVEL, tag=["private"])
    await send(running, "granted.md", TRAVEL, tag=["public"], readers="group:hr")
    counts.append(await fetched(running.store, viewer))
    assert counts[0] == counts[1]
    _, key = await ApiKeys(running.store).new("site", ("read",), tags=["public", "other"])
    _, listed = await running.call("GET", DOCUMENTS, headers={"X-Api-Key": key})
    assert [each["name"] for each in listed["documents"]] == ["all.md"]
    _, skipped = await running.call("GET", "/api/contexts/handbook/skipped", headers={"X-Api-Key": key})
    assert skipped["skipped"] == []


async def test_nobody_reads_the_name_of_a_document_of_which_they_read_nothing(running: Running) -> None:
    """Also of one that is empty but for who may see it: it is listed and counted for who sees everything alone."""
    for name, text in (("plan.md", b"---\nreaders: [group:hr]\n---\n"), ("travel.md", TRAVEL)):
        assert (await send(running, name, text))[0] == 200
    some = (("it", ()), ("hr", ["group:hr"]))
    keys = [await ApiKeys(running.store).new(name, ("read",), groups=groups) for name, groups in some]
    _, admin = await ApiKeys(running.store).new("admin", ("admin",))
    for _, key in keys:
        headers = {"X-Api-Key": key}
        _, listed = await running.call("GET", DOCUMENTS, headers=headers)
        assert [each["name"] for each in listed["documents"]] == ["travel.md"]
        assert (await running.call("GET", "/api/contexts/handbook", headers=headers))[1]["documents"]["count"] == 1
    _, listed = await running.call("GET", DOCUMENTS, headers={"X-Api-Key": admin})
    assert [each["name"] for each in listed["documents"]] == ["plan.md", "travel.md"]


async def fetched(store: Store, viewer: Viewer) -> int:
    """Return how many rows are fetched where a viewer lists documents."""
    connection, rows = store._threads.opened().connection, []
    assert isinstance(connection, sqlite3.Connection)

    def count(cursor: object, row: tuple[object, ...]) -> tuple[object, ...]:
        rows.append(row)
        return row

    connection.row_factory = count
    try:
        assert [each.name for each in await store.documents("handbook", viewer=viewer)] == ["all.md"]
        return len(rows)
    finally:
        connection.row_factory = None


async def test_readers_that_name_no_group_are_refused(running: Running) -> None:
    """Before anything is kept."""
    status, told = await send(running, "pay.md", TRAVEL, readers="hr")
    assert (status, "group:hr" in told["error"]) == (400, True)
    assert (await running.call("GET", DOCUMENTS))[1]["documents"] == []


async def test_file_sent_again_replaces_its_items(running: Running) -> None:
    """And one that has not changed is not read."""
    await send(running, "travel.md", TRAVEL)
    _, same = await send(running, "travel.md", TRAVEL)
    assert (same["read"], same["unchanged"]) == (0, 1)
    _, other = await send(running, "travel.md", b"# Travel\n\nNo hotels any more.\n")
    assert (other["read"], other["items"]["new"] + other["items"]["changed"]) == (1, 1)
    assert (await running.store.context("handbook")).items == 4


async def test_refused_file_leaves_the_document_of_its_name_as_it_was(running: Running) -> None:
    """Until it is sent again, whole: who is refused loses nothing."""
    await send(running, "travel.md", TRAVEL)
    kept = await running.call("GET", DOCUMENTS)
    status, told = await send(running, "travel.md", b"\x1f\x8b\x08\0\0\0")
    assert (status, told["code"]) == (422, "unreadable_document")
    (document,) = (await running.call("GET", DOCUMENTS))[1]["documents"]
    assert (document["state"], document["items"]) == ("incomplete", kept[1]["documents"][0]["items"])
    assert "could not be read again, and is as it was" in document["problems"][0]
    assert (await search(running, "second class"))["source"] == "travel.md"
    await send(running, "travel.md", TRAVEL)
    assert await running.call("GET", DOCUMENTS) == kept


async def test_files_of_a_form_are_read_by_their_endings(running: Running) -> None:
    """Markdown, HTML, lines of JSON; what cannot be read stands beside it with its reason."""
    lines = b'{"id": "a", "text": "Canteen opens at noon."}\n{"id": "b", "text": "Parking is free."}\n'
    html = b"<html><body><h1>Safety</h1><p>Helmets are worn.</p></body></html>"
    files = form(("travel.md", TRAVEL), ("rules.jsonl", lines), ("safety.html", html), ("x.png", b"\x89PNG\r\n\0\0"))
    status, told = await running.call("POST", DOCUMENTS, data=files)
    assert (status, told["read"]) == (200, 3)
    assert [each["document"] for each in told["failed"]] == ["x.png"]
    assert (await search(running, "parking"))["id"] == "b"
    assert "<p>" not in (await search(running, "helmets"))["text"]


async def test_file_that_cannot_be_read_is_refused(running: Running) -> None:
    """With its reason and without an address on this machine; it is listed as not read until it is sent again."""
    status, told = await send(running, "picture.png", b"\x89PNG\r\n\x1a\n\0\0\0")
    assert (status, told["code"], "/tmp" in told["error"]) == (422, "unreadable_document", False)
    assert "picture.png" in told["error"]
    assert (await running.call("GET", DOCUMENTS))[1]["documents"] == []
    skipped, binary = DOCUMENTS.replace("documents", "skipped"), b"\x1f\x8b\x08\0\0\0"
    assert [(await send(running, "a.txt", binary))[0] for _ in range(2)] == [422, 422]  # once more, though it is known
    told = (await running.call("GET", skipped))[1]["skipped"]
    assert [(each["name"], each["origin"]) for each in told] == [
        (name, f"upload {name}") for name in ("a.txt", "picture.png")
    ]
    assert not any("/tmp" in each["reason"] for each in told)
    assert (await send(running, "a.txt", TRAVEL))[1]["read"] == 1
    assert [each["name"] for each in (await running.call("GET", skipped))[1]["skipped"]] == ["picture.png"]
    statuses = [(await running.call("DELETE", f"{DOCUMENTS}/{name}"))[0] for name in ("a.txt", "picture.png", "a.txt")]
    assert (statuses, (await running.call("GET", skipped))[1]["skipped"]) == ([204, 204, 404], [])


async def test_document_is_removed_with_its_items(running: Running) -> None:
    """By its name, slashes included."""
    await send(running, "docs/travel.md", TRAVEL)
    assert await running.call("DELETE", f"{DOCUMENTS}/docs/travel.md") == (204, None)
    assert (await running.call("DELETE", f"{DOCUMENTS}/docs/travel.md"))[0] == 404
    assert (await running.store.context("handbook")).items == 3


async def test_a_request_without_a_file_empties_no_document(running: Running) -> None:
    """Who forgets the body loses nothing; an empty file goes as a part of a form."""
    await send(running, "travel.md", TRAVEL)
    status, told = await send(running, "travel.md", b"")
    assert (status, told["code"]) == (400, "invalid_request")
    assert (await running.store.context("handbook")).items > 3
    assert (await running.call("POST", DOCUMENTS, data=form(("travel.md", b""))))[0] == 200
    assert (await running.store.context("handbook")).items == 3


async def test_documents_are_listed_page_by_page(running: Running) -> None:
    """Each once."""
    await running.call("POST", DOCUMENTS, data=form(*((f"{n}.txt", b"Text %d." % n) for n in range(3))))
    _, first = await running.call("GET", f"{DOCUMENTS}?limit=2")
    _, second = await running.call("GET", f"{DOCUMENTS}?limit=2&after={first['next']}")
    assert [each["name"] for each in first["documents"] + second["documents"]] == ["0.txt", "1.txt", "2.txt"]
    assert second["next"] is None


async def test_document_of_another_place_is_not_replaced(running: Running, tmp_path: Path) -> None:
    """What came from a folder goes on to be that folder's."""
    from nexus_core.cli.commands.context.inputs import place_of

    (tmp_path / "travel.md").write_bytes(TRAVEL)
    place = place_of(str(tmp_path / "travel.md"), (), called=None)
    await running.store.ingest("handbook", place.source, origin=place.origin, within=place.within)
    status, told = await send(running, "travel.md", b"Mine.")
    assert (status, told["code"]) == (409, "document_exists")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a\\b.md", ".hidden", "*.md", "x.md/..", "[a].md"])
async def test_name_of_a_file_is_a_name_and_nothing_else(running: Running, name: str) -> None:
    """It leads nowhere on this machine (fault 208)."""
    status, told = await send(running, name, b"# Canary\n\nOnly these words.\n")
    assert (status, told["read"]) == (200, 1)
    assert (await search(running, "canary words"))["text"].endswith("Only these words.")


@pytest.mark.parametrize(
    ("params", "headers", "data", "status"),
    [
        ({}, {}, b"x", 400),
        ({"name": "a\x01"}, {}, b"x", 400),
        ({"name": "a", "nam": "b"}, {}, b"x", 400),
        ({"name": "a"}, {"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 400),
        ({}, {"Content-Type": "multipart/form-data"}, b"x", 400),
        ({}, {"Content-Type": "multipart/form-data; boundary=x"}, b"nothing of the kind", 400),
        ({}, {"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n", 400),
        ({}, {"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n\r\na\r\n--x--\r\n", 400),
        ({}, {"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n[]--x--\r\n", 400),
        ({"name": "a"}, {"Content-Encoding": "gzip"}, gzip.compress(b"x" * 10_000), 415),
    ],
    ids=[
        "no name",
        "name",
        "parameter",
        "name twice",
        "no boundary",
        "no parts",
        "empty",
        "no filename",
        "no header",
        "gzip",
    ],
)  # fmt: skip
async def test_what_is_no_upload_is_refused(
    running: Running, params: dict[str, str], headers: dict[str, str], data: bytes, status: int
) -> None:
    """With what is wrong (faults 95 and 106)."""
    got, told = await running.call("POST", DOCUMENTS, params=params, headers=headers, data=data)
    assert (got, bool(told["error"])) == (status, True)


async def test_upload_is_bounded(start: Start) -> None:
    """Told by its length or not, alone or in parts (fault 95)."""
    running = await start(limits=ServerLimits(upload_bytes=1000))
    await running.store.create("handbook")

    async def pieces() -> Any:
        for _ in range(20):
            yield b"x" * 100

    bodies: list[Any] = [
        b"x" * 1001,
        pieces(),
        form(("a.txt", b"x" * 1001)),
        form(("a.txt", b"x" * 600), ("b", b"x" * 600)),
    ]
    for body in bodies:
        params = {} if isinstance(body, aiohttp.FormData) else {"name": "a.txt"}
        status, told = await running.call("POST", DOCUMENTS, params=params, data=body)
        assert (status, told["code"]) == (413, "body_too_large")


async def test_skipped_files_are_listed_apart_with_their_reasons(running: Running, tmp_path: Path) -> None:
    """Those that `nexus context add` has found; never among the documents, and page by page."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.exe", "b.exe", "c.exe"):
        (folder / name).write_bytes(b"\x1f\x8b\x08\0\0")
    (folder / "travel.md").write_bytes(TRAVEL)
    files = PluginRegistry.installed().component(Kind.SOURCE, "files")(paths=".", root=str(folder))
    await running.store.ingest("handbook", files, origin=str(folder))
    _, documents = await running.call("GET", DOCUMENTS)
    assert [each["name"] for each in documents["documents"]] == ["travel.md"]
    skipped = DOCUMENTS.replace("documents", "skipped")
    _, first = await running.call("GET", skipped, params={"limit": 2})
    _, last = await running.call("GET", skipped, params={"after": first["next"]})
    assert [(each["name"], "is binary" in each["reason"]) for each in first["skipped"] + last["skipped"]] == [
        (name, True) for name in ("a.exe", "b.exe", "c.exe")
    ]
    assert {each["origin"] for each in first["skipped"]} == {str(folder)}  # this machine's own client is its operator


async def test_documents_are_found_by_their_names(running: Running) -> None:
    """As they are, in any case, page by page, and no others than are listed."""
    for name in ("Ärzte_1.md", "a%b.md", "travel-2.MD", "ärzte.md", "örzte.md"):
        await send(running, name, TRAVEL)
    for words, names in (
        ("ÄRZTE", ["Ärzte_1.md", "ärzte.md"]), ("_", ["Ärzte_1.md"]), ("%B", ["a%b.md"]), ("none", []), ("a\0", []),
        (" .md ", ["a%b.md", "travel-2.MD", "Ärzte_1.md", "ärzte.md", "örzte.md"]),
    ):  # fmt: skip
        _, told = await running.call("GET", DOCUMENTS, params={"search": words})
        assert sorted(each["name"] for each in told["documents"]) == sorted(names), words
    _, first = await running.call("GET", DOCUMENTS, params={"search": "ärzte", "limit": 1})
    _, last = await running.call("GET", DOCUMENTS, params={"search": "ärzte", "limit": 1, "after": first["next"]})
    pages = [[each["name"] for each in page["documents"]] for page in (first, last)]
    assert (pages, last["next"]) == ([["Ärzte_1.md"], ["ärzte.md"]], None)


async def test_documents_tell_their_items_their_state_and_what_is_missing(running: Running) -> None:
    """Ready, still without some vectors, or not as it should be; and the context how many of which there are."""
    broken = b"<p>Rooms are booked ahead.</p><script>var never = 'closed'"
    lines = b'{"id": "a", "text": "The canteen opens at noon."}\nno JSON\n'
    for name, data in (("canteen.jsonl", lines), ("rooms.html", broken), ("travel.md", TRAVEL)):
        await send(running, name, data)
    _, told = await running.call("GET", DOCUMENTS)
    canteen, rooms, travel = told["documents"]
    assert (canteen["state"], canteen["items"], len(canteen["problems"])) == ("incomplete", 1, 1)
    assert (travel["state"], travel["items"], travel["remarks"]) == ("ready", 1, [])
    assert (rooms["state"], rooms["problems"]) == ("ready", [])
    assert "never closed" in rooms["remarks"][0]
    _, context = await running.call("GET", "/api/contexts/handbook")
    size = len(lines) + len(broken) + len(TRAVEL)
    assert context["documents"] == {"count": 3, "size": size, "remarked": 2, "skipped": 0}
    _, remarked = await running.call("GET", DOCUMENTS, params={"only": "remarked"})
    assert [each["name"] for each in remarked["documents"]] == ["canteen.jsonl", "rooms.html"]

    pytest.importorskip("wordllama")
    await running.store.embed("handbook", "static")
    mine = "(SELECT key FROM items WHERE source = 'travel.md')"
    for statement in ("UPDATE contexts SET embedded = 0", f"DELETE FROM vector_parts WHERE item_key IN {mine}"):
        await running.store.write(run_statement, statement)
    _, told = await running.call("GET", DOCUMENTS)
    assert [(each["state"], each["withoutVectors"]) for each in told["documents"]] == [
        ("incomplete", 0), ("ready", 0), ("embedding", 1),
    ]  # fmt: skip


async def test_a_page_of_ten_thousand_documents_costs_what_one_of_two_hundred_does(running: Running) -> None:
    """At its beginning and near its end, in steps of the database; and each page goes on where the last one ended."""
    view, steps = StoreView(running.store, None), []
    for count in (200, 10_000):
        rows = [(f"{number:05}.md",) for number in range(count)]
        await running.store.write(add_documents, rows)
        pages = [view.page_of_documents("handbook", after=after) for after in ("", f"{count - 150:05}.md")]
        steps += [await steps_of(running.store, page) for page in pages]
    assert max(steps[2:]) <= 1.5 * max(steps[:2])
    status, page = await running.call("GET", DOCUMENTS, params={"after": "09900.md", "limit": 60})
    assert (status, page["documents"][0]["name"], page["next"]) == (200, "09901.md", "09960.md")
    _, last = await running.call("GET", DOCUMENTS, params={"after": page["next"]})
    assert (len(last["documents"]), last["next"]) == (39, None)


def run_statement(connection: SqlConnection, statement: str) -> None:
    connection.execute(statement)


def add_documents(connection: SqlConnection, names: Sequence[tuple[str]]) -> None:
    connection.executemany(
        "INSERT INTO documents (context_id, name, origin, stamp, digest, size, added)"
        " VALUES (1, ?, 'upload', '', '', 10, 0) ON CONFLICT DO NOTHING",
        names,
    )


async def steps_of(store: Store, work: Awaitable[object]) -> int:
    """Return how many hundred steps the database takes for some work."""
    connection, count = store._threads.opened().connection, Counter[str]()
    assert isinstance(connection, sqlite3.Connection)
    connection.set_progress_handler(lambda: count.update(steps=1), 100)
    try:
        await work
        return count["steps"]
    finally:
        connection.set_progress_handler(None, 0)

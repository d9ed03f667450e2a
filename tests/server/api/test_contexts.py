"""Contexts and their items over HTTP."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core.store.database.sql import SqlConnection
from nexus_core.toolkit import KEPT_NUMBERS, embedder_named

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Running

HANDBOOK = "/api/contexts/handbook"


def fresh(count: int) -> list[dict[str, Any]]:
    return [{"id": f"new/{n}#a", "text": f"Text number {n}."} for n in range(count)]


async def test_context_is_made_told_and_deleted(running: Running) -> None:
    """It is empty and of the language that was asked for."""
    body = {"name": "a/b ü", "description": "Rules", "language": "german"}
    status, made = await running.call("POST", "/api/contexts", json=body)
    assert (status, made["name"], made["items"], made["language"]) == (201, "a/b ü", 0, "german")
    assert (await running.call("GET", "/api/contexts/a%2Fb%20%C3%BC"))[1] == made
    _, told = await running.call("GET", "/api/contexts")
    assert [each["name"] for each in told["contexts"]] == ["a/b ü", "handbook"]
    assert await running.call("DELETE", "/api/contexts/a%2Fb%20%C3%BC") == (204, None)
    assert (await running.call("GET", "/api/contexts/a%2Fb%20%C3%BC"))[0] == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "handbook"}, 409, "context_exists"),
        ({"name": " "}, 400, "invalid_request"),
        ({"name": "a\nb"}, 400, "invalid_request"),
        ({"name": "x", "language": "klingon"}, 400, "invalid_request"),
        ({"name": "x", "encoding": "o300k"}, 400, "invalid_request"),
        ({"name": "x", "owner": "me"}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
    ],
    ids=["taken", "blank", "control character", "language", "encoding", "unknown property", "no name"],
)
async def test_context_that_cannot_be_made_is_refused(
    running: Running, body: dict[str, Any], status: int, code: str
) -> None:
    """With the reason."""
    got, told = await running.call("POST", "/api/contexts", json=body)
    assert (got, told["code"]) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/items", None),
        ("POST", "/items", {"items": fresh(1)}),
        ("GET", "/items/leave", None),
        ("DELETE", "/items/leave", None),
        ("POST", "/search", {"query": "leave"}),
        ("POST", "/tags", {"ids": ["leave"], "add": ["x"]}),
        ("GET", "/counts", None),
        ("GET", "/documents", None),
        ("POST", "/documents?name=a.md", None),
        ("DELETE", "/documents/a.md", None),
    ],
)
async def test_unknown_context_is_not_found(running: Running, method: str, path: str, body: Any) -> None:
    """Whatever is asked of it, with the name that may have been meant."""
    status, told = await running.call(method, f"/api/contexts/hanbook{path}", json=body)
    assert (status, told["code"]) == (404, "context_not_found")
    assert "did you mean 'handbook'" in told["error"]


async def test_items_are_added_changed_and_removed(running: Running) -> None:
    """The same again changes nothing."""
    items = [*fresh(2), {"id": "leave", "text": "30 days.", "tags": ["time"], "metadata": {"page": 3}}]
    _, added = await running.call("POST", f"{HANDBOOK}/items", json={"items": items})
    assert added == {"new": 2, "changed": 1, "unchanged": 0, "removed": 0}
    _, again = await running.call("POST", f"{HANDBOOK}/items", json={"items": items})
    assert again["unchanged"] == 3
    _, item = await running.call("GET", f"{HANDBOOK}/items/leave")
    assert (item["text"], item["metadata"], item["tags"]) == ("30 days.", {"page": 3}, ["time"])
    for path in ("new/0%23a", "new%2F1%23a"):
        assert (await running.call("GET", f"{HANDBOOK}/items/{path}"))[0] == 200
        assert await running.call("DELETE", f"{HANDBOOK}/items/{path}") == (204, None)
        assert (await running.call("DELETE", f"{HANDBOOK}/items/{path}"))[0] == 404


@pytest.mark.parametrize(
    "items",
    [
        [],
        fresh(1001),
        [{"id": "a"}],
        [{"id": "", "text": "x"}],
        [{"id": "a\u0000", "text": "x"}],
        [{"id": "a", "text": "x", "derived": {}}],
        [{"id": "a", "text": "\ud83d"}],
        [{"id": "a", "text": "x", "kind": "video"}],
    ],
    ids=["none", "too many", "no text", "empty id", "control character", "unknown", "surrogate", "kind"],
)
async def test_items_that_cannot_be_kept_are_refused(running: Running, items: list[Any]) -> None:
    """As 400, and none of them is there."""
    status, told = await running.call("POST", f"{HANDBOOK}/items", json={"items": items})
    assert (status, told["code"] in ("invalid_request", "invalid_json")) == (400, True)
    assert (await running.store.context("handbook")).items == 3


def _execute(connection: SqlConnection, statement: str) -> None:
    connection.execute(statement)


async def test_a_context_tells_how_many_items_have_vectors(running: Running) -> None:
    """Nothing where it is searched by words; and its list of documents tells who has read them."""
    _, told = await running.call("GET", HANDBOOK)
    assert (told["embedder"], told["vectors"]) == ("", None)
    pytest.importorskip("wordllama")
    await running.store.embed("handbook", "static")
    await running.call("POST", f"{HANDBOOK}/documents?name=a.md", data=b"# A\n\nText.")
    _, told = await running.call("GET", HANDBOOK)
    assert (told["embedder"], told["vectors"]) == ("static", {"dimensions": 256, "items": 4, "total": 4})
    for statement in (
        "UPDATE contexts SET embedded = embedded - 1",
        "DELETE FROM vector_parts WHERE item_key > (SELECT embedded FROM contexts)",
    ):
        await running.store.write(_execute, statement)
    assert (await running.call("GET", HANDBOOK))[1]["vectors"]["items"] == 3
    _, listed = await running.call("GET", f"{HANDBOOK}/documents")
    assert listed["documents"][0]["reader"].startswith("contextnexus md ")


@pytest.mark.parametrize("is_base64", [True, False], ids=["base64", "numbers"])
async def test_items_come_with_their_own_vectors(running: Running, is_base64: bool) -> None:
    """By the name of the model: they are found by meaning, and are not worked out."""
    pytest.importorskip("wordllama")
    row = (await embedder_named("static").embed(["A puppy makes noise."]))[0]
    told: Any = base64.b64encode(row.astype(KEPT_NUMBERS).tobytes()).decode() if is_base64 else (row * 3).tolist()
    await running.store.embed("handbook", "static")
    item = {"id": "scan", "text": "Page 17 of it.", "vectors": {"static": told}}
    for state in ("new", "unchanged"):
        status, added = await running.call("POST", f"{HANDBOOK}/items", json={"items": [item]})
        assert (status, added[state]) == (200, 1)
    body = {"query": "loud puppies", "by": "meaning", "limit": 1}
    _, found = await running.call("POST", f"{HANDBOOK}/search", json=body)
    assert [each["item"]["id"] for each in found["found"]] == ["scan"]


async def test_vectors_of_another_model_are_a_remark(running: Running) -> None:
    """The answer names both models; items without any have no remarks."""
    pytest.importorskip("wordllama")
    await running.store.embed("handbook", "static")
    items = [{"id": "scan", "text": "Page 17.", "vectors": {"statik": [1, 2]}}, {"id": "plain", "text": "Page 18."}]
    _, added = await running.call("POST", f"{HANDBOOK}/items", json={"items": items})
    assert (added["new"], len(added["remarks"])) == (2, 1)
    assert "'statik' for 1 item are kept and not used" in added["remarks"][0]
    assert "remarks" not in (await running.call("POST", f"{HANDBOOK}/items", json={"items": items[1:]}))[1]


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ([1, 2], "must be object"),
        ({"m": "no base64!"}, "items[0]: its vectors of 'm' are no base64"),
        ({"m": ""}, "are 0 bytes"),
        ({"m": []}, "are empty"),
        ({"m": [[1, 2], [3]]}, "are not lists of one length"),
        ({"m": [1, True]}, "hold what is no number"),
        ({"m": "AHw="}, "are not all finite numbers"),
        ({"": [1, 2]}, "the model of its vectors is empty"),
        ({"static": [1, 2]}, "are 2 numbers: one has 256"),
    ],
    ids=["list", "no base64", "no bytes", "no rows", "lengths", "truth", "infinite", "no model", "width"],
)
async def test_vectors_that_are_none_are_refused(running: Running, vectors: Any, said: str) -> None:
    """As 400 with what is wrong, and the item is not there."""
    pytest.importorskip("wordllama")
    await running.store.embed("handbook", "static")
    item = {"id": "scan", "text": "x", "vectors": vectors}
    status, told = await running.call("POST", f"{HANDBOOK}/items", json={"items": [item]})
    assert (status, said in told["error"]) == (400, True), told
    assert (await running.call("GET", f"{HANDBOOK}/items/scan"))[0] == 404


async def test_pages_hold_every_item_once(running: Running) -> None:
    """In the order in which they came, until there is no next page."""
    await running.call("POST", f"{HANDBOOK}/items", json={"items": fresh(5)})
    found, after = [], 0
    while after is not None:
        _, page = await running.call("GET", f"{HANDBOOK}/items?limit=3&after={after}")
        found += [item["id"] for item in page["items"]]
        after = page["next"]
    assert found == ["leave", "trains", "flights", *(f"new/{n}#a" for n in range(5))]
    _, tagged = await running.call("GET", f"{HANDBOOK}/items?tag=travel&limit=2")
    assert ([item["id"] for item in tagged["items"]], tagged["next"]) == (["trains", "flights"], None)


@pytest.mark.parametrize("path", ["/api/contexts", "/api/pipelines", "/api/queries/models", "/v1/models"])
async def test_a_route_without_parameters_refuses_them(running: Running, path: str) -> None:
    """As those do that have some: what nobody reads is never ignored."""
    assert (await running.call("GET", f"{path}?foo=1"))[0] == 400


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=²", "limit=1&limit=2", "after=1e3", "lmit=3"]
)
async def test_parameters_that_say_nothing_are_refused(running: Running, query: str) -> None:
    """As 400, and named."""
    status, told = await running.call("GET", f"{HANDBOOK}/items?{query}")
    assert (status, "parameter" in told["error"]) == (400, True)


async def test_search_finds_the_best_items(running: Running) -> None:
    """As many as are asked for, with all of the tags."""
    _, told = await running.call("POST", f"{HANDBOOK}/search", json={"query": "trains", "limit": 1})
    assert [each["item"]["id"] for each in told["found"]] == ["trains"]
    assert told["found"][0]["score"] > 0
    body = {"query": "trains", "tags": ["time"]}
    assert (await running.call("POST", f"{HANDBOOK}/search", json=body)) == (200, {"found": []})


async def test_items_are_counted_by_a_field(running: Running) -> None:
    """By tags unless another is named; of those that a filter lets through, and as many values as are asked for."""
    _, told = await running.call("GET", f"{HANDBOOK}/counts")
    assert told == {"counts": [{"value": "travel", "items": 2}, {"value": "time", "items": 1}], "values": 2}
    _, told = await running.call("GET", f"{HANDBOOK}/counts?limit=1")
    assert told == {"counts": [{"value": "travel", "items": 2}], "values": 2}
    _, told = await running.call("GET", f"{HANDBOOK}/counts?field=id&where=%7B%22tags%22:%22time%22%7D")
    assert told == {"counts": [{"value": "leave", "items": 1}], "values": 1}
    assert (await running.call("GET", f"{HANDBOOK}/counts?field=nothing"))[1] == {"counts": [], "values": 0}


async def test_items_are_listed_that_a_filter_lets_through(running: Running) -> None:
    """Page by page; with a tag as well where one is named, and a filter that is none is refused."""
    items = [{**each, "metadata": {"year": 2020 + n}, "tags": [f"t{n % 2}"]} for n, each in enumerate(fresh(6))]
    assert (await running.call("POST", f"{HANDBOOK}/items", json={"items": items}))[0] == 200
    later = "where=%7B%22year%22:%7B%22gte%22:2022%7D%7D"
    found, after = [], 0
    while after is not None:
        _, page = await running.call("GET", f"{HANDBOOK}/items?{later}&limit=3&after={after}")
        found += [each["id"] for each in page["items"]]
        after = page["next"]
    assert found == [f"new/{n}#a" for n in range(2, 6)]
    _, page = await running.call("GET", f"{HANDBOOK}/items?{later}&tag=t1")
    assert [each["id"] for each in page["items"]] == ["new/3#a", "new/5#a"]
    status, told = await running.call("GET", f"{HANDBOOK}/items?where=%7B%22year%22:%7B%22atleast%22:1%7D%7D")
    assert (status, "`where`: year has 'atleast'" in told["error"]) == (400, True)


async def test_an_item_that_is_granted_to_nobody_is_refused(running: Running) -> None:
    """An empty list may stand for all or for none: who means all leaves it out."""
    status, told = await running.call("POST", f"{HANDBOOK}/items", json={"items": [{**fresh(1)[0], "readers": []}]})
    assert (status, "items[0].readers" in told["error"]) == (400, True), told


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("where=x", "the parameter 'where': it is no JSON"),
        ("where=%5B%5D", "the parameter 'where': it is no JSON object"),
        ("where=%7B%22year%22:%7B%22atleast%22:1%7D%7D", "`where`: year has 'atleast'"),
        ("field=", "the parameter 'field'"),
        ("limit=0", "the parameter 'limit'"),
    ],
    ids=["no JSON", "list", "operator", "no field", "limit"],
)
async def test_counts_that_cannot_be_asked_for_are_refused(running: Running, query: str, said: str) -> None:
    """As 400, with the parameter and what is wrong."""
    status, told = await running.call("GET", f"{HANDBOOK}/counts?{query}")
    assert (status, said in told["error"]) == (400, True), told


async def test_what_is_like_an_item_is_found_without_a_query(running: Running) -> None:
    """The item's text is what is searched for; neither of the two is a mistake."""
    listed = (await running.call("GET", f"{HANDBOOK}/items"))[1]["items"]
    status, told = await running.call("POST", f"{HANDBOOK}/search", json={"like": listed[0]["id"]})
    assert status == 200
    assert listed[0]["id"] not in [each["item"]["id"] for each in told["found"]]
    status, told = await running.call("POST", f"{HANDBOOK}/search", json={"limit": 1})
    assert (status, told["error"]) == (400, "query is missing, and so is like: give one of the two")


async def test_whole_number_may_be_written_as_a_fraction(running: Running) -> None:
    """For JSON Schema 2.0 is an integer, and for the store only 2 is."""
    body = {"query": "trains flights", "limit": 2.0, "tags": ["travel"]}
    status, told = await running.call("POST", f"{HANDBOOK}/search", json=body)
    assert (status, len(told["found"])) == (200, 2)


async def test_tags_are_added_and_removed(running: Running) -> None:
    """And what has not changed is not counted."""
    body = {"ids": ["leave", "trains", "gone"], "add": ["new"], "remove": ["travel"]}
    status, told = await running.call("POST", f"{HANDBOOK}/tags", json=body)
    assert (status, told) == (200, {"changed": 2})
    _, item = await running.call("GET", f"{HANDBOOK}/items/trains")
    assert item["tags"] == ["new"]

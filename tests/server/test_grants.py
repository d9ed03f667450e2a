"""Who may see what over HTTP: every route for eleven principals, and a store with what is hidden beside one without."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

import nexus_core.server
from nexus_core import CallOptions, Item, Prompt, Store
from nexus_core.contract.prompts import PackedItem
from nexus_core.server.access import identity
from nexus_core.server.runs import journal
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.testing.fakes import FakeConnector

if TYPE_CHECKING:
    from nexus_core.server.routes import Route
    from nexus_core.store.database.sql import SqlConnection
    from tests.server.conftest import Fakes, LoopbackIssuer, Running, Start

pytestmark = pytest.mark.slow

GUARDED = """name: guarded
models: {main: {use: fake, to: main, cache: {expires: 1h}}}
steps:
  - gather: {use: store, path: PATH}
  - prompt: {template: answer.jinja, variables: {told: ""}}
  - generate: main
"""
OWN = """name: own
models: {main: {use: fake, to: own}}
steps:
  - gather: {use: jsonl, path: own.jsonl}
  - rank: bm25
  - prompt: {template: answer.jinja, variables: {told: ""}}
  - generate: main
"""
WORDS = {
    "open": "alderfen", "hr": "birchmere", "it": "cedarlake", "payroll": "dogwoodia", "tagged": "elderholt",
    "was": "firgrove",
}  # fmt: skip
"""By what they are for, the words that stand in the ids, titles and texts of items: whoever reads one has seen them."""


class Echo(FakeConnector):
    """Answers with its prompt, so that an answer shows what it was made of."""

    def _next(self, prompt: Prompt, options: CallOptions) -> str:
        super()._next(prompt, options)
        return "; ".join(message.text for message in prompt.messages)


@frozen(kw_only=True)
class Principal:
    """Somebody with a key, and what they may see."""

    groups: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("query", "read")
    person: str = ""
    """Who shows a token of the issuer, and no key."""
    sees: frozenset[str]


EVERYTHING = frozenset(WORDS)
OWN_READERS = {"was": "group:management"}
"""Who may see items in memory, where that is not the group of their name."""
PRINCIPALS = {
    "admin": Principal(scopes=("admin",), sees=EVERYTHING),
    "hr": Principal(groups=("group:hr",), sees=frozenset({"open", "hr", "payroll", "tagged"})),
    "signed-in": Principal(person="ann", sees=frozenset({"open", "hr", "payroll", "tagged"})),
    "it": Principal(groups=("group:it",), sees=frozenset({"open", "it", "tagged"})),
    "both": Principal(groups=("group:hr", "group:it"), sees=frozenset({"open", "hr", "it", "payroll", "tagged"})),
    "none": Principal(sees=frozenset({"open", "tagged"})),
    "asks-alone": Principal(scopes=("query",), sees=frozenset({"open", "tagged"})),
    "context": Principal(groups=("group:hr",), contexts=("payroll",), sees=frozenset({"payroll"})),
    "tag": Principal(groups=("group:hr",), tags=("public",), sees=frozenset({"tagged"})),
    "withdrawn": Principal(groups=("group:was",), sees=frozenset({"open", "tagged"})),
    "expired": Principal(sees=frozenset()),
}


def item(of: str, number: int = 0, **more: Any) -> Item:
    word = WORDS[of]
    text = f"The {word} leave of number {number} is granted each year."
    return Item(id=f"{word}-{number}", title=f"Leave {word} {number}", text=text, **more)


async def fill(store: Store, *, much: bool) -> None:
    """Fill a store with what a key without any group sees, and `much` or little that is hidden from it."""
    await store.create("handbook")
    links = {"links": ["birchmere-0", "elderholt-0"]}
    await store.add("handbook", [item("open", metadata=links), item("tagged", tags=("public",))])
    await store.add("handbook", [item("hr", n, readers=("group:hr",)) for n in range(9 if much else 1)])
    if not much:
        return
    await store.add("handbook", [item("it", n, readers=("group:it",)) for n in range(5)])
    await store.create("payroll", readers=["group:hr"])
    await store.add("payroll", [item("payroll")])
    await store.create("was", readers=["group:was"])
    await store.add("was", [item("was")])
    await store.grant("was", ["group:management"])


@frozen(kw_only=True)
class Guarded:
    """A server over such a store, and the keys of the principals."""

    running: Running
    keys: Mapping[str, str]
    link: str = ""
    """The token of a link to a conversation that is made of all there is."""

    async def ask(self, who: str, method: str, path: str, **more: Any) -> tuple[int, str, dict[str, str]]:
        """Return status, text and headers, without what is other each time."""
        headers = {"Authorization": f"Bearer {self.keys[who]}", "X-Request-Id": "same", **more.pop("headers", {})}
        origin, path = self.running.origin, path.replace("LINK", self.link)
        async with self.running.session.request(method, origin + path, headers=headers, **more) as response:
            told = {name: value for name, value in response.headers.items() if name not in ("Date", "Content-Length")}
            return response.status, await response.text(), told


@asynccontextmanager
async def guard(
    start: Start, fakes: Fakes, folder: Path, issuer: LoopbackIssuer, *, much: bool = True
) -> AsyncIterator[Guarded]:
    """Start a server whose model repeats its prompt, so that an answer shows what it was made of."""
    fakes.connectors |= {"main": Echo(), "own": Echo()}
    own = [
        {"id": f"own-{word}", "text": f"own {word} leave", "readers": [OWN_READERS.get(of, f"group:{of}")]}
        for of, word in WORDS.items()
    ]
    (folder / "own.jsonl").write_text("".join(json.dumps(each) + "\n" for each in own))
    store = Store(folder / f"store-{much}")
    texts = {"guarded": GUARDED.replace("PATH", str(folder / f"store-{much}")), "own": OWN}
    running = await start(pipelines=texts, store=store, oidc=issuer.settings())
    await fill(store, much=much)
    made, keys = ApiKeys(store), {}
    for name, each in PRINCIPALS.items():
        if each.person:
            keys[name] = issuer.token(each.person, exp=int(time()) + 3600)
            continue
        lives_s = 0.001 if name == "expired" else None
        _, keys[name] = await made.new(
            name, each.scopes, lives_s=lives_s, groups=each.groups, contexts=each.contexts, tags=each.tags
        )
    running.server.keys._read_at = None  # type: ignore[union-attr]
    yield Guarded(running=running, keys=keys, link=await share(store))


async def share(store: Store) -> str:
    """Keep a conversation with a turn of each item, which is what its answer cites, and return a link to it."""
    for context in await store.contexts():
        for key, each in await store.items(context.name):
            await store.conversations.add_turn(
                None, "shared", owner="admin", query=each.id, answer=f"{each.text} [1]", model="main",
                run_id=f"{context.name}-{key}", contexts=[context.name],
                items=[PackedItem(number=1, item=each, text=each.text)],
            )  # fmt: skip
    await store.write(_without_history)
    return (await store.conversations.links.make("shared", owner="admin"))[1]


def _without_history(connection: SqlConnection) -> None:
    """Let no turn have been in the prompt of a later one: each is hidden for what it is made of itself."""
    for key, number, told in connection.execute("SELECT key, number, sources FROM turns").fetchall():
        sources = json.dumps({**json.loads(told), "unseen": [*range(1, number)]})
        connection.execute("UPDATE turns SET sources = ? WHERE key = ?", (sources, key))


CONTEXTS = ("handbook", "payroll", "was", "nowhere", "own")
QUERY = {"query": "Which leave is granted each year?", "options": {"includeTrace": True}}


def requests() -> list[tuple[str, str, dict[str, Any]]]:
    """Return a request for every route that shows anything, of every context that there is, and one that is not."""
    found: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", path, {})
        for path in (
            "/api/contexts", "/api/pipelines", "/api/queries/models", "/api/queries/usage", "/api/conversations",
            "/api/identity", "/v1/models", "/v1/models/nexus/guarded", "/v1/models/nexus/guard", "/metrics",
            "/openapi.json", "/",
            "/api/shared/LINK", "/api/shared/none", "/api/conversations/shared/link",
            "/api/conversations/shared/turns/none/versions",
            "/api/runs/none", "/api/runs/none/events", "/v1/responses/resp_none",
        )
    ]  # fmt: skip
    for name in CONTEXTS:
        one = f"/api/contexts/{name}"
        ids = [f"{word}-0" for word in WORDS.values()]
        found += [("GET", path, {}) for path in (one, f"{one}/items", f"{one}/documents", f"{one}/skipped")]
        found += [("GET", f"{one}/items?tag=public", {}), ("GET", f"{one}/items?where=%7B%22kind%22:%22text%22%7D", {})]
        found += [("GET", f"/v1/models/nexus/guarded/{name}", {})]
        found += [("GET", f"{one}/items/{each}", {}) for each in ids]
        found += [("GET", f"{one}/counts?field={field}", {}) for field in ("tags", "id", "title", "links")]
        found += [("POST", f"{one}/search", {"json": {"query": "leave granted", "by": by}}) for by in ("words", "both")]
        found += [("POST", f"{one}/search", {"json": {"like": each}}) for each in ids]
        for pipeline in ("guarded", "own"):
            asked: dict[str, Any] = {**QUERY, "contextId": name, "pipeline": pipeline}
            kept = {**asked, "options": {**QUERY["options"], "conversationId": f"talk-{name}-{pipeline}"}}  # type: ignore[dict-item]
            chat = {"model": f"nexus/{pipeline}/{name}", "messages": [{"role": "user", "content": QUERY["query"]}]}
            found += [("POST", "/api/queries", {"json": each}) for each in (asked, kept, asked)]
            found += [("POST", "/api/queries", {"json": {**asked, "options": {"stream": True, "includeTrace": True}}})]
            found += [("POST", "/v1/chat/completions", {"json": {**chat, "stream": each}}) for each in (False, True)]
            found += [("POST", "/v1/responses", {"json": {"model": chat["model"], "input": QUERY["query"]}})]
            found += [("POST", "/v1/embeddings", {"json": {"model": chat["model"], "input": "leave"}})]
            found += [("GET", f"/api/conversations/talk-{name}-{pipeline}", {})]
            asked = {"name": f"ask_{pipeline}", "arguments": {"question": QUERY["query"], "context": name}}
            found += [mcp("tools/call", **asked), mcp("prompts/get", name=pipeline, arguments=asked["arguments"])]
        found += [mcp("tools/call", name="search", arguments={"context": name, "query": "leave granted", "limit": 50})]
        for each in ids:
            uri = f"nexus://{name}/items/{each}"
            found += [mcp("resources/read", uri=uri), mcp("tools/call", name="read", arguments={"uri": uri})]
    found += [("GET", f"/api/conversations?search={words}", {}) for words in ("leave", *WORDS.values())]
    return found + [mcp(method) for method in ("tools/list", "resources/list", "prompts/list")]


def mcp(method: str, **params: Any) -> tuple[str, str, dict[str, Any]]:
    """Return a request that speaks MCP."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return "POST", "/mcp", {"json": message, "headers": {"Accept": "application/json, text/event-stream"}}


async def test_every_route_that_shows_something_is_asked(running: Running) -> None:
    """A route that is added is asked, too, or changes something and takes a key that may do all."""
    shown = {(method, path.partition("?")[0]) for method, path, _ in requests()}
    left = {
        f"{route.method} {route.path}"
        for route in running.server.routes()
        if route.scope in ("query", "read", "any")
        and not any(m == route.method and _fits(route, path) for m, path in shown)
    }
    assert left == {
        "DELETE /conversations/{conversationId}", "PATCH /conversations/{conversationId}", "DELETE /runs/{runId}",
        "PUT /conversations/{conversationId}/turns/{turnId}/rating", "PUT /conversations/{conversationId}/branch",
        "POST /conversations", "PUT /conversations/{conversationId}/link",
        "DELETE /conversations/{conversationId}/link",
        "DELETE /v1/responses/{responseId}", "POST /v1/responses/{responseId}/cancel",
        "POST /runs/{runId}/approvals/{callId}",
    }  # fmt: skip


def _named(path: str, body: dict[str, Any]) -> str:
    """Return the id that a request itself names."""
    params = body.get("params", {})
    uri = params.get("uri") or params.get("arguments", {}).get("uri") or path
    return str(body.get("like", uri.rsplit("/")[-1]))


def _fits(route: Route, path: str) -> bool:
    own = route.path if route.bare else f"/api{route.path}"
    return re.fullmatch(re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(own)), path) is not None


async def test_nobody_reads_of_what_they_may_not_see(
    start: Start, fakes: Fakes, tmp_path: Path, issuer: LoopbackIssuer
) -> None:
    """By no route: no id, title or text; and what is not theirs is refused as what is not there."""
    shown: dict[str, str] = {"/api/queries": "", "/mcp": "", "/v1/responses": "", "/api/shared/LINK": ""}
    async with guard(start, fakes, tmp_path, issuer) as guarded:
        for method, path, more in requests():
            named = _named(path, more.get("json", {}))
            for who, each in PRINCIPALS.items():
                status, told, _ = await guarded.ask(who, method, path, **more)
                for of in EVERYTHING - each.sees:
                    assert WORDS[of] not in told.replace(named, ""), (who, method, path, told)
                assert status < 500, (who, method, path, told)
                assert who != "expired" or status in (200, 401, 429)
                if who == "admin" and path in shown:
                    shown[path] += told
    for path, told in shown.items():
        assert [of for of in PRINCIPALS["admin"].sees if WORDS[of] not in told] == [], path


async def test_what_is_wrong_with_a_filter_is_told_to_all(
    start: Start, fakes: Fakes, tmp_path: Path, issuer: LoopbackIssuer
) -> None:
    """It is what the request says itself, and nothing of the store."""
    async with guard(start, fakes, tmp_path, issuer, much=False) as guarded:
        body = {"query": "leave", "where": {"year": {"gtr": 1}}}
        for who in ("admin", "hr", "none"):
            status, told, _ = await guarded.ask(who, "POST", "/api/contexts/handbook/search", json=body)
            assert (status, "did you mean 'gt'" in told) == (400, True), (who, told)


async def test_what_may_not_be_seen_is_told_as_what_is_not_there(
    start: Start, fakes: Fakes, tmp_path: Path, issuer: LoopbackIssuer
) -> None:
    """The same status, body and headers, but for the name that was asked."""
    async with guard(start, fakes, tmp_path, issuer) as guarded:
        for path, there, not_there in (
            ("/api/contexts/{}", "payroll", "nowhere"),
            ("/api/contexts/{}/items", "payroll", "nowhere"),
            ("/api/contexts/{}/documents", "payroll", "nowhere"),
            ("/api/contexts/handbook/items/{}", "birchmere-0", "birchmere-x"),
            ("/v1/models/nexus/guarded/{}", "payroll", "nowhere"),
        ):
            found = [await guarded.ask("none", "GET", path.format(name)) for name in (there, not_there)]
            assert found[0][0] == found[1][0] == 404
            assert found[0][1].replace(there, "X") == found[1][1].replace(not_there, "X")
            assert found[0][2] == found[1][2]
        told_of = []
        for name in ("birchmere-0", "birchmere-x"):
            status, said, _ = await guarded.ask("none", "POST", "/api/contexts/handbook/search", json={"like": name})
            told_of.append((status, json.loads(said)["code"], said.replace(name, "X")))
        assert told_of[0] == told_of[1] == (404, "item_not_found", told_of[0][2])
        for name in ("payroll", "nowhere"):
            asked = {**QUERY, "contextId": name, "pipeline": "guarded"}
            status, told, _ = await guarded.ask("none", "POST", "/api/queries", json=asked)
            assert (status, json.loads(told)["error"]) == (404, f"there is no context {name!r}")


async def test_nothing_that_is_told_counts_what_is_hidden(
    start: Start, fakes: Fakes, tmp_path: Path, issuer: LoopbackIssuer
) -> None:
    """Counts, pages and lists are the same as over a store without it, and scores have two digits."""
    async with guard(start, fakes, tmp_path, issuer) as guarded:
        status, told, _ = await guarded.ask("none", "GET", "/api/contexts/handbook")
        assert (status, json.loads(told)["items"]) == (200, 2)
        _, told, _ = await guarded.ask("none", "GET", "/api/contexts/handbook/items?limit=1")
        assert [each["metadata"] for each in json.loads(told)["items"]] == [{"links": ["elderholt-0"]}]
        place = json.loads(told)["next"]
        assert place > 1000  # no key of the store, which would count what was added before
        _, told, _ = await guarded.ask("none", "GET", f"/api/contexts/handbook/items?after={place}")
        assert [each["id"] for each in json.loads(told)["items"]] == ["elderholt-0"]
        _, told, _ = await guarded.ask("none", "GET", "/api/contexts/handbook/counts?field=kind")
        assert json.loads(told) == {"counts": [{"value": "text", "items": 2}], "values": 1}
        _, told, _ = await guarded.ask("none", "GET", "/api/contexts/handbook/counts?field=links")
        assert json.loads(told) == {"counts": [{"value": "elderholt-0", "items": 1}], "values": 1}
        found = {"query": "leave granted"}
        _, told, _ = await guarded.ask("none", "POST", "/api/contexts/handbook/search", json=found)
        scores = [each["score"] for each in json.loads(told)["found"]]
        assert scores == [round(score, 2) for score in scores]
        asked = {**QUERY, "contextId": "handbook", "pipeline": "guarded"}
        _, told, _ = await guarded.ask("none", "POST", "/api/queries", json=asked)
        assert json.loads(told)["packing"]["candidates"] == 2


async def test_a_link_shows_each_turn_to_who_may_see_what_it_is_made_of(
    start: Start, fakes: Fakes, tmp_path: Path, issuer: LoopbackIssuer
) -> None:
    """And no more, however it was made; that something is left out is told, and its title is not."""
    async with guard(start, fakes, tmp_path, issuer) as guarded:
        for who, each in PRINCIPALS.items():
            status, text, _ = await guarded.ask(who, "GET", "/api/shared/LINK")
            if who == "expired":
                assert status == 401
                continue
            told = json.loads(text)
            assert {of for of in EVERYTHING if WORDS[of] in text} == each.sees, who
            assert told["isPartial"] == (who != "admin")
            assert (told["title"] == "") == told["isPartial"]
            assert all(turn["contextItems"][0]["id"] == turn["query"] for turn in told["turns"])


@pytest.mark.parametrize("change", ["context", "item"])
async def test_a_withdrawn_grant_hides_what_was_kept(
    start: Start, fakes: Fakes, tmp_path: Path, issuer: LoopbackIssuer, change: str
) -> None:
    """Turns of conversations that were made of it, those that came after them, and answers of the cache."""
    async with guard(start, fakes, tmp_path, issuer) as guarded:
        name = "payroll" if change == "context" else "handbook"
        word = "dogwoodia" if change == "context" else "birchmere"
        asked = {"query": QUERY["query"], "contextId": name, "pipeline": "guarded"}
        kept = {**asked, "options": {"conversationId": "talk"}}
        for body in (asked, asked, kept, kept):
            status, told, _ = await guarded.ask("hr", "POST", "/api/queries", json=body)
            assert (status, word in told) == (200, True)
        _, told, _ = await guarded.ask("hr", "GET", "/api/conversations/talk")
        assert (told.count(word) > 1, json.loads(told)["conversation"]["turns"]) == (True, 2)
        old = json.loads(told)["turns"][1]["id"]
        anew = {**asked, "options": {"conversationId": "talk", "replaces": old}}
        status, told, _ = await guarded.ask("hr", "POST", "/api/queries", json=anew)
        place = f"/api/conversations/talk/turns/{json.loads(told)['id']}/rating"
        versions = f"/api/conversations/talk/turns/{old}/versions"
        assert (await guarded.ask("hr", "GET", versions))[1].count(word) > 1
        assert (await guarded.ask("hr", "PUT", place, json={"rating": "up"}))[0] == 200
        title = {"json": {"title": f"The {word}"}}
        assert word in (await guarded.ask("hr", "PATCH", "/api/conversations/talk", **title))[1]
        await guarded.running.store.conversations.add("plain", query="Mine?", answer="Mine.", model="m", run_id="plain")
        searches = [f"/api/conversations?search={each}" for each in (word, "leave", "granted")]
        for path in searches:
            _, told, _ = await guarded.ask("hr", "GET", path)
            assert [each["id"] for each in json.loads(told)["conversations"]] == ["talk"], path
        if change == "context":
            await guarded.running.store.grant(name, ["group:management"])
        else:
            await guarded.running.store.add(name, [item("hr", n, readers=("group:management",)) for n in range(9)])
        _, told, _ = await guarded.ask("hr", "GET", "/api/conversations/talk")
        assert (word in told, json.loads(told)["turns"]) == (False, [])
        for path in searches:
            assert json.loads((await guarded.ask("hr", "GET", path))[1]) == {"conversations": [], "next": None}
        status, told_of, _ = await guarded.ask("hr", "PUT", place, json={"rating": "up"})
        assert (status, json.loads(told_of)["code"]) == (404, "turn_not_found")
        branch = ("PUT", "/api/conversations/talk/branch", {"json": {"turnId": old}})
        for method, path, more in (("GET", versions, {}), branch, ("POST", "/api/queries", {"json": anew})):
            status, told_of, _ = await guarded.ask("hr", method, path, **more)
            assert (status, json.loads(told_of)["code"]) in ((404, "turn_not_found"), (404, "context_not_found"))
        assert json.loads(told)["conversation"]["title"] == ""
        for body in (asked, kept):
            _, told, _ = await guarded.ask("hr", "POST", "/api/queries", json=body)
            assert word not in told
        assert word in (await guarded.running.store.conversations.turns("talk", owner="hr"))[0].answer


async def test_a_store_is_read_as_if_what_is_hidden_were_not_there(
    start: Start, fakes: Fakes, tmp_path: Path, issuer: LoopbackIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The routes fetch as many rows of the database where much is hidden as where little is."""
    monkeypatch.setattr(journal, "BEAT_S", 3600.0)  # what a server reads each second is no request's
    monkeypatch.setattr(identity, "FRESH_S", 3600.0)  # nor what it reads again of keys after a while
    counts = []
    for much in (True, False):
        async with guard(start, fakes, tmp_path, issuer, much=much) as guarded:
            counts.append([await rows_read(guarded, each) for each in requests()])
    for (method, path, _), one, other in zip(requests(), *counts, strict=True):
        # What is shared has a turn for each item: that some are left out is told.
        assert one == other or path == "/api/shared/LINK", (method, path)
    assert sum(counts[0]) > len(counts[0])


async def rows_read(guarded: Guarded, request: tuple[str, str, dict[str, Any]]) -> int:
    """Return how many rows are fetched by the connection that reads while the key without groups is answered."""
    await guarded.running.store.answers.settle()  # what waits to be written is read from memory
    connection = guarded.running.store._threads.opened().connection
    assert isinstance(connection, sqlite3.Connection)
    rows: list[tuple[object, ...]] = []

    def count(cursor: object, row: tuple[object, ...]) -> tuple[object, ...]:
        rows.append(row)
        return row

    connection.row_factory = count
    method, path, more = request
    try:
        await guarded.ask("none", method, path, **more)
        return len(rows)
    finally:
        connection.row_factory = None


def test_routes_look_at_the_store_through_a_view_alone() -> None:
    """No module of routes touches the store itself, whose methods show everything."""
    assert nexus_core.server.__file__ is not None
    root = Path(nexus_core.server.__file__).parent
    wrong = [
        f"{path.relative_to(root)}:{node.lineno}"
        for room in ("api", "mcp", "openai", "page", "http")
        for path in sorted((root / room).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("store", "_store")
    ]
    assert wrong == []

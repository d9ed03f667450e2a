"""Who may call what: every tool, resource and prompt for sixteen principals; what is not theirs never succeeds."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from attrs import frozen

from nexus_core import Item
from nexus_core.store.access.api_keys import ApiKeys
from tests.server.conftest import OWN, QUOTES
from tests.server.mcp.conftest import ERAS

if TYPE_CHECKING:
    from tests.server.conftest import LoopbackIssuer, Running, Start

pytestmark = pytest.mark.slow

SECRET = "Everybody has 28 days of leave a year."
URI = "nexus://handbook/items/leave"
ASK = {"question": "How many days of leave?", "context": "handbook"}
READS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "search": ("tools/call", {"name": "search", "arguments": {"context": "handbook", "query": "leave"}}),
    "read": ("tools/call", {"name": "read", "arguments": {"uri": URI}}),
    "resource": ("resources/read", {"uri": URI}),
    "document": ("tools/call", {"name": "read", "arguments": {"uri": "nexus://handbook/documents/leave.md"}}),
    "list": ("resources/list", {}),
}
QUERIES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "ask": ("tools/call", {"name": "ask", "arguments": ASK}),
    "ask-named": ("tools/call", {"name": "ask", "arguments": {**ASK, "pipeline": "quotes"}}),
    "ask-quotes": ("tools/call", {"name": "ask_quotes", "arguments": ASK}),
    "prompt": ("prompts/get", {"name": "quotes", "arguments": ASK}),
}
OWNS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "ask-own": ("tools/call", {"name": "ask_own", "arguments": {"question": "Leave?"}}),
    "ask-named-own": ("tools/call", {"name": "ask", "arguments": {"question": "Leave?", "pipeline": "own"}}),
    "prompt-own": ("prompts/get", {"name": "own", "arguments": {"question": "Leave?"}}),
}
CALLS = {**READS, **QUERIES, **OWNS}
ALLOWED: Mapping[str, set[str]] = {
    "admin": {*CALLS},
    "read-and-query": {*CALLS},
    "read": {*READS},
    "query": {*QUERIES, *OWNS},
    "bound-to-own": {*OWNS},
    "other-context": set(),
    "other-group": set(OWNS),
    "other-tag": set(OWNS),
    "nobody": set(),
    "wrong-key": set(),
    "revoked": set(),
    "expired": set(),
    "cookie": set(),
    "foreign-origin": set(),
    "key-in-address": set(),
    "used-up": set(),
}
"""By principal what succeeds; the rest must not."""
KEYS: Mapping[str, dict[str, Any]] = {
    "admin": {"scopes": ("admin",)},
    "read-and-query": {"groups": ("group:hr",)},
    "read": {"scopes": ("read",), "groups": ("group:hr",)},
    "query": {"scopes": ("query",), "groups": ("group:hr",)},
    "bound-to-own": {"contexts": ("own",), "groups": ("group:hr",)},
    "other-context": {"contexts": ("open",), "groups": ("group:hr",)},
    "other-group": {"groups": ("group:it",)},
    "other-tag": {"groups": ("group:hr",), "tags": ("public",)},
    "revoked": {"scopes": ("admin",)},
    "expired": {"scopes": ("admin",), "lives_s": 0.001},
    "used-up": {"requests_per_minute": 1},
}


@frozen(kw_only=True)
class Doors:
    """A server whose context is granted to one group, and what each principal sends with a request."""

    running: Running
    headers: Mapping[str, dict[str, str]]
    queries: Mapping[str, dict[str, str]]
    browser: aiohttp.ClientSession
    """One in which somebody who may do all is signed in."""

    async def call(self, who: str, mode: str, method: str, params: dict[str, Any]) -> tuple[int, str]:
        """Return status and text of the answer to a message."""
        headers = {"Accept": "application/json, text/event-stream", **self.headers.get(who, {})}
        if mode != "legacy":
            headers |= {"MCP-Protocol-Version": mode, "Mcp-Method": method}
            name = params.get("name") or params.get("uri")
            headers |= {"Mcp-Name": name} if name else {}
            meta = {
                "io.modelcontextprotocol/protocolVersion": mode,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            params = {**params, "_meta": meta}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        session = self.browser if who == "cookie" else self.running.session
        url = f"{self.running.origin}/mcp"
        async with session.post(url, json=body, headers=headers, params=self.queries.get(who, {})) as response:
            return response.status, await response.text()


@pytest.fixture
async def doors(start: Start, handbook: Path, tmp_path: Path, issuer: LoopbackIssuer) -> AsyncIterator[Doors]:
    """A server with keys, an issuer, and a context that one group may see."""
    shutil.copytree(handbook, tmp_path / "store")
    guarded = QUOTES.replace("{use: fake}", f"{{use: store, path: {tmp_path / 'store'}}}")
    running = await start(pipelines={"quotes": guarded, "own": OWN}, oidc=issuer.settings())
    await running.store.add("handbook", [Item(id="leave", title="Leave", text=SECRET, source="leave.md")])
    await running.store.grant("handbook", ["group:hr"])
    await running.store.create("open")
    made, headers = ApiKeys(running.store), dict[str, dict[str, str]]()
    for name, asked in KEYS.items():
        key, text = await made.new(name, **asked)
        headers[name] = {"Authorization": f"Bearer {text}"}
        if name == "revoked":
            await made.revoke(key.id)
    headers["wrong-key"] = {"Authorization": headers["admin"]["Authorization"][:-4] + "0000"}
    headers["foreign-origin"] = {**headers["admin"], "Origin": "http://evil.example"}
    secret = headers["admin"]["Authorization"].removeprefix("Bearer ")
    running.server.keys._read_at = None  # type: ignore[union-attr]
    issuer.person = "bob"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(f"{running.origin}/auth/login"):
            pass
        async with browser.get(f"{running.origin}/api/contexts") as told:
            assert [each["name"] for each in (await told.json())["contexts"]] == ["handbook", "open"]
        yield Doors(running=running, headers=headers, queries={"key-in-address": {"api_key": secret}}, browser=browser)


def result_of(text: str) -> dict[str, Any]:
    """Return the result in the text of an answer, whole or as the last event of a stream; empty for an error."""
    data = next((line for line in text.splitlines() if line.startswith("data: ")), text).removeprefix("data: ")
    result: dict[str, Any] = json.loads(data).get("result", {})
    return {} if result.get("isError") else result


def succeeded(name: str, text: str) -> bool:
    """Tell whether a call has shown what it asks for: what is in the context, or what the other pipeline says."""
    shown = {"list": URI, "ask-own": "An answer.", "ask-named-own": "An answer.", "prompt-own": "messages"}
    return shown.get(name, SECRET) in json.dumps(result_of(text))


@pytest.mark.parametrize("mode", ERAS.values(), ids=ERAS)
async def test_what_is_not_theirs_never_succeeds(doors: Doors, mode: str) -> None:
    """And what is theirs does: no text of the context reaches any other."""
    await doors.call("used-up", mode, "tools/list", {})
    for who, allowed in ALLOWED.items():
        for name, (method, params) in CALLS.items():
            status, text = await doors.call(who, mode, method, params)
            assert succeeded(name, text) == (name in allowed), (who, name, status, text)
            if name not in allowed or name in OWNS:
                assert SECRET not in text, (who, name, text)


STATUSES = {
    "nobody": 401, "wrong-key": 401, "revoked": 401, "expired": 401, "cookie": 401, "foreign-origin": 403,
    "key-in-address": 400, "used-up": 429,
}  # fmt: skip


@pytest.mark.parametrize("mode", ERAS.values(), ids=ERAS)
async def test_who_is_let_in_nowhere_is_told_as_json_rpc_does(doors: Doors, mode: str) -> None:
    """With the status of HTTP, so that a client asks for another key, waits, or gives up."""
    await doors.call("used-up", mode, "tools/list", {})
    for who, status in STATUSES.items():
        for method in ("tools/list", "resources/list", "prompts/list", "resources/templates/list", "server/discover"):
            found, text = await doors.call(who, mode, method, {})
            told = json.loads(text)
            assert (found, told["jsonrpc"], told["id"], told["error"]["code"]) == (status, "2.0", None, -32600), who
            assert told["error"]["data"]["statusCode"] == status


async def test_ask_takes_the_first_pipeline_of_a_key(doors: Doors) -> None:
    """Where the default one is not theirs, and no other is named."""
    doors.running.server.serving.default = "own"
    asked = {"name": "ask", "arguments": {"question": "So?", "context": "open"}}
    _, text = await doors.call("other-context", "legacy", "tools/call", asked)
    assert result_of(text)["structuredContent"]["pipeline"] == "quotes"


@pytest.mark.parametrize("mode", ERAS.values(), ids=ERAS)
async def test_lists_hold_what_may_be_called(doors: Doors, mode: str) -> None:
    """Tools by scope, pipelines by what a key is bound to, and contexts by grants."""
    listed: dict[str, Any] = {}
    for who in ("read-and-query", "read", "query", "bound-to-own", "other-context", "other-group"):
        _, text = await doors.call(who, mode, "tools/list", {})
        tools = result_of(text)["tools"]
        contexts = next(
            (each["inputSchema"]["properties"]["context"].get("enum") for each in tools if each["name"] == "search"),
            None,
        )
        listed[who] = [each["name"] for each in tools], contexts
    asks = ["ask", "ask_quotes", "ask_own"]
    assert listed == {
        "read-and-query": (["search", "read", *asks], ["handbook", "open"]),
        "read": (["search", "read"], ["handbook", "open"]),
        "query": (asks, None),
        "bound-to-own": (["search", "read", *asks], None),
        "other-context": (["search", "read", "ask", "ask_quotes"], ["open"]),
        "other-group": (["search", "read", *asks], ["open"]),
    }


async def test_limits_count_calls_as_runs(start: Start, handbook: Path, tmp_path: Path) -> None:
    """The tokens that a run uses are those of its key, and a call beyond them is refused before it begins."""
    shutil.copytree(handbook, tmp_path / "store")
    running = await start(pipelines={"own": OWN})
    _, key = await ApiKeys(running.store).new("ann", tokens_per_minute=700)
    running.server.keys._read_at = None  # type: ignore[union-attr]
    doors = Doors(
        running=running, headers={"ann": {"Authorization": f"Bearer {key}"}}, queries={}, browser=running.session
    )
    method, params = OWNS["ask-own"]
    found = [await doors.call("ann", "legacy", method, params) for _ in range(60)]
    assert succeeded("ask-own", found[0][1])
    refused = [text for status, text in found if status == 429]
    assert refused
    assert json.loads(refused[0])["error"]["data"]["code"] == "rate_limit_exceeded"

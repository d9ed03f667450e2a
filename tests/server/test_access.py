"""Who may ask: servers that need keys, ways that nobody should come by, and names that a key may not learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from nexus_core.contract.errors import StoreDamagedError, UsageError
from nexus_core.server.access.identity import FRESH_S, Identity, Keyring
from nexus_core.server.access.request_origin import came_by_proxy, is_secret
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.store import Store

pytestmark = pytest.mark.slow

NEED_KEYS = [{"tls_elsewhere": True}, {"require_keys": True}]
BY_PROXY = ["Forwarded", "X-Forwarded-For", "X-Forwarded-Anything", "x-real-ip", "Via", "CF-Connecting-IP"]
BY_PROXY += [
    "X-Forwarded",
    "Forwarded-For",
    "X_Forwarded_For",
    "Client-IP",
    "X-ProxyUser-Ip",
    "X-Original-Host",
    "CDN-Loop",
]
BY_PROXY += ["X-Envoy-External-Address", "X-Azure-ClientIP", "WL-Proxy-Client-IP", "CF-Ray", "Tailscale-User-Login"]
CONTEXT = {"model": "nexus/talk/handbook", "messages": [{"role": "user", "content": "Leave?"}]}


@pytest.mark.parametrize("settings", NEED_KEYS, ids=["proxy", "required"])
async def test_a_server_that_needs_keys_does_not_start_without(start: Any, tmp_path: Path, settings: Any) -> None:
    """On this machine's own address either, and it names the store: that may be the wrong one."""
    with pytest.raises(UsageError, match=f"the store at {tmp_path}/store has no keys"):
        await start(**settings)


@pytest.mark.parametrize("settings", NEED_KEYS, ids=["proxy", "required"])
async def test_a_server_whose_keys_vanish_serves_nobody(start: Any, tmp_path: Path, settings: Any) -> None:
    """Whoever asks is refused, with the key that was and without."""
    async with Store(tmp_path / "store") as store:
        _, text = await ApiKeys(store).new("ann", ("admin",))
    running = await start(**settings)
    headers = {"Authorization": f"Bearer {text}"}
    assert (await running.call("GET", "/api/pipelines", headers=headers))[0] == 200
    await running.store.write(lambda connection: connection.execute("DELETE FROM keys"))
    running.server.keys._read_at -= FRESH_S
    for given_headers in (headers, {}):
        assert (await running.call("GET", "/api/pipelines", headers=given_headers))[0] == 401


async def test_keys_that_were_read_once_are_needed_ever_after(tmp_path: Path) -> None:
    """Also where the server would have served without any."""
    now = [0.0]
    async with Store(tmp_path) as store:
        _, text = await ApiKeys(store).new("ann")
        ring = Keyring(ApiKeys(store), open_without=True, clock=lambda: now[0])
        assert await ring.verify(text) is not None
        await store.write(lambda connection: connection.execute("DELETE FROM keys"))
        now[0] += FRESH_S
        assert (await ring.verify(text), await ring.verify("")) == (None, None)


async def test_a_server_over_an_emptied_store_does_not_start(start: Any, tmp_path: Path) -> None:
    """It had keys, perhaps; a new store has none."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.db").touch()
    with pytest.raises(StoreDamagedError):
        await start()


@pytest.mark.parametrize("name", BY_PROXY)
@pytest.mark.parametrize("path", ["/api/pipelines", "/", "/healthz", "/nowhere"])
async def test_a_server_without_keys_refuses_what_proxies_bring(running: Any, name: str, path: str) -> None:
    """Whatever is asked for: it serves this machine alone."""
    status, told = await running.call("GET", path, headers={name: "203.0.113.7"})
    assert (status, told["code"]) == (403, "forwarded_request")


@pytest.mark.parametrize("name", BY_PROXY)
async def test_a_server_with_keys_serves_through_proxies(start: Any, tmp_path: Path, name: str) -> None:
    """The key says who asks."""
    async with Store(tmp_path / "store") as store:
        _, text = await ApiKeys(store).new("ann")
    running = await start(tls_elsewhere=True)
    headers = {"Authorization": f"Bearer {text}", name: "203.0.113.7", "Host": "ask.example"}
    assert (await running.call("GET", "/api/pipelines", headers=headers))[0] == 200
    for origin, status in (("https://ask.example", 200), ("http://ask.example", 403), ("https://other.example", 403)):
        assert (await running.call("GET", "/api/pipelines", headers={**headers, "Origin": origin}))[0] == status


async def test_two_origins_are_none(running: Any) -> None:
    """Each of them may be right: a browser sends one."""
    headers = [("Origin", running.origin), ("Origin", running.origin)]
    status, told = await running.call("GET", "/api/pipelines", headers=headers)
    assert (status, told["code"]) == (403, "wrong_origin")


@pytest.mark.parametrize("port", ["{0}", "1{0}", ""])
async def test_a_page_on_another_port_is_another_page(running: Any, port: str) -> None:
    """It could add documents to what this server keeps."""
    port = port.format(running.server.port)[-5:]
    origin = f"http://127.0.0.1:{port}" if port else "http://127.0.0.1"
    status, _ = await running.call("POST", "/api/contexts", json={"name": "new"}, headers={"Origin": origin})
    assert status == (201 if origin == running.origin else 403)


@pytest.mark.parametrize(
    "name",
    [
        "token", "key", "auth", "api_key", "access_token", "apikey", "API-Key", "x-api-key", "bearer", "authToken",
        "Authorization", "id_token", "keys", "secret", "client.secret", "password", "api%5Fkey", "credentials", "jwt",
        "pass", "pw", "passcode", "cred", "authn", "authz", "access_key_id", "sig", "X-Amz-Signature", "sessionid",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/pipelines", "/", "/nowhere"])
async def test_keys_in_addresses_are_refused(running: Any, name: str, path: str) -> None:
    """By any spelling, wherever: the address is in a log by then, and people are told so."""
    status, told = await running.call("GET", f"{path}?{name}=x")
    assert (status, told["code"]) == (400, "key_in_address")


async def test_our_keys_are_refused_under_any_name(running: Any) -> None:
    """By their form."""
    status, told = await running.call("GET", "/api/contexts?q=cnx_abcdefgh_" + "a" * 43)
    assert (status, told["code"]) == (400, "key_in_address")


@given(st.sampled_from(["key", "token", "auth", "secret"]), st.text("-_. ", max_size=3), st.sampled_from(["", "s"]))
def test_a_name_for_keys_is_one_however_it_is_written(word: str, between: str, end: str) -> None:
    """Case and separators make no difference."""
    assert is_secret(f"my{between}{word.title()}{end}")
    assert is_secret(word.upper() + between)


def test_parameters_of_routes_are_no_names_for_keys(start: Any) -> None:
    """Else they could not be given."""
    assert [name for name in ("limit", "after", "name", "tag", "q", "v", "keyword", "author") if is_secret(name)] == []
    assert not came_by_proxy(["Host", "Accept", "User-Agent", "Origin", "X-Request-Id"])


@pytest.mark.parametrize("path", ["/api/pipelines", "/healthz", "/openapi.json", "/v1/models", "/metrics", "/nowhere"])
async def test_answers_are_kept_by_no_cache(running: Any, path: str) -> None:
    """Errors neither."""
    async with running.session.get(running.origin + path) as answer:
        assert answer.headers["Cache-Control"] == "no-store"


async def _by_scope(text: str) -> Identity | None:
    return Identity(owner="ann", scopes=frozenset(text.split("+")))


@pytest.mark.parametrize(("scopes", "sees"), [("query", False), ("query+read", True), ("admin", True)])
async def test_names_of_contexts_are_for_keys_that_may_list_them(running: Any, scopes: str, sees: bool) -> None:
    """Neither the models nor an error tell them to a key that only asks."""
    await running.store.create("salaries")
    running.server.gate._verify = _by_scope
    headers = {"Authorization": f"Bearer {scopes}"}
    heard = []
    for model in ("nexus/quotes", "nexus/quotes/salarie", "nexus/quote", "salaries2", "nexus/talk/handbooks"):
        _, told = await running.call("GET", f"/v1/models/{model}", headers=headers)
        _, asked = await running.call("POST", "/v1/chat/completions", json={**CONTEXT, "model": model}, headers=headers)
        heard += [told, asked]
    heard.append((await running.call("GET", "/v1/models", headers=headers))[1])
    body = {"query": "Leave?", "contextId": "salarie"}
    heard.append((await running.call("POST", "/api/queries", json=body, headers=headers))[1])
    said = str(heard).replace("salaries2", "").replace("handbooks", "")
    assert ("salaries" in said, "nexus/talk/handbook" in said) == (sees, sees)


async def test_a_key_that_only_asks_may_ask_a_context_that_it_knows(running: Any) -> None:
    """And hears that there is such a model."""
    running.server.gate._verify = _by_scope
    headers = {"Authorization": "Bearer query"}
    status, told = await running.call("GET", "/v1/models/nexus/talk/handbook", headers=headers)
    assert (status, told["id"]) == (200, "nexus/talk/handbook")
    assert (await running.call("POST", "/v1/chat/completions", json=CONTEXT, headers=headers))[0] == 200

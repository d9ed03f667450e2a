"""Keys over HTTP: made, listed, limited, rotated, revoked, and what they spend."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from nexus_core.store.access.api_keys import ApiKeys

pytestmark = pytest.mark.slow

BODY = {"query": "How many days of leave?", "contextId": "own", "pipeline": "own"}


async def admin(running: Any) -> dict[str, str]:
    """Return the headers of somebody who administrates."""
    _, text = await ApiKeys(running.store).new("root", ("admin",))
    await running.server.keys.renew()
    return {"Authorization": f"Bearer {text}"}


def shown(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def test_a_key_is_made_and_told_once(running: Any) -> None:
    """It opens at once what it was made for, and no list ever holds it."""
    root = await admin(running)
    about = {"owner": "ann", "groups": ["group:hr"], "contexts": ["handbook"], "tags": ["time"], "livesS": 3600,
             "requestsPerMinute": 60, "tokensPerMinute": 9000, "concurrency": 2, "scopes": ["query"]}  # fmt: skip
    status, made = await running.call("POST", "/api/keys", json=about, headers=root)
    assert status == 201
    _, who = await running.call("GET", "/api/identity", headers=shown(made["text"]))
    told = {"owner": "ann", "keyId": made["key"]["id"], "scopes": ["query"], "groups": ["group:hr"]}
    assert who == {**told, "mayShare": True}
    async with running.session.get(running.origin + "/api/keys", headers=root) as answer:
        told = await answer.text()
        assert made["text"][13:] not in told
        found = (await answer.json())["keys"][-1]
    assert (found["contexts"], found["tags"], found["concurrency"], found["holds"]) == (["handbook"], ["time"], 2, True)
    assert found["expires"] - found["created"] == 3600


@pytest.mark.parametrize(
    "body",
    [
        {}, {"owner": ""}, {"owner": "a\nb"}, {"owner": "ann", "scopes": ["all"]}, {"owner": "ann", "scopes": []},
        {"owner": "ann", "groups": ["hr"]}, {"owner": "ann", "groups": ["group:nobody"]}, {"owner": "ann", "livesS": 0},
        {"owner": "ann", "scopes": ["admin"], "contexts": ["handbook"]}, {"owner": "ann", "concurrency": 0},
        {"owner": "ann", "digest": "x"},
    ],
    ids=str,
)  # fmt: skip
async def test_a_key_that_cannot_be_is_refused(running: Any, body: dict[str, Any]) -> None:
    """With the reason, and nothing is made."""
    root = await admin(running)
    status, told = await running.call("POST", "/api/keys", json=body, headers=root)
    assert (status, bool(told["error"])) == (400, True)
    assert len((await running.call("GET", "/api/keys", headers=root))[1]["keys"]) == 1


async def test_a_revoked_key_opens_nothing_at_once(running: Any) -> None:
    """And one that is not there is 404."""
    root = await admin(running)
    _, made = await running.call("POST", "/api/keys", json={"owner": "ann"}, headers=root)
    assert (await running.call("DELETE", f"/api/keys/{made['key']['id']}", headers=root))[0] == 204
    assert (await running.call("GET", "/api/identity", headers=shown(made["text"])))[0] == 401
    for method, path in (("DELETE", ""), ("POST", "/rotate"), ("PUT", "/limits"), ("PUT", "/view")):
        json: Any = {"requestsPerMinute": None, "tokensPerMinute": None, "concurrency": 1} if path == "/limits" else {}
        json = {"groups": [], "contexts": [], "tags": []} if path == "/view" else json
        status, told = await running.call(method, f"/api/keys/00000000{path}", headers=root, json=json)
        assert (status, told["code"]) == (404, "key_not_found")


async def test_a_rotated_key_goes_on_for_the_time_that_is_told(running: Any) -> None:
    """The new one may do the same; both open until then, and then the old one no more."""
    root = await admin(running)
    about = {"owner": "ann", "groups": ["group:hr"], "requestsPerMinute": 600, "livesS": 86_400}
    _, made = await running.call("POST", "/api/keys", json=about, headers=root)
    path = f"/api/keys/{made['key']['id']}/rotate"
    status, new = await running.call("POST", path, json={"overlapS": 60}, headers=root)
    assert status == 201
    same = ("owner", "groups", "scopes", "requestsPerMinute", "concurrency", "contexts", "tags")
    assert [new["key"][name] for name in same] == [made["key"][name] for name in same]
    assert new["key"]["expires"] - new["key"]["created"] == 86_400
    for text in (made["text"], new["text"]):
        assert (await running.call("GET", "/api/identity", headers=shown(text)))[0] == 200
    running.server.keys._wall = lambda: new["previous"]["expires"] + 1
    found = [(await running.call("GET", "/api/identity", headers=shown(each["text"])))[0] for each in (made, new)]
    assert found == [401, 200]


async def test_a_key_that_ended_is_not_rotated(running: Any) -> None:
    """Nor does a rotation let one go on for longer than it did."""
    root = await admin(running)
    _, made = await running.call("POST", "/api/keys", json={"owner": "ann", "livesS": 60}, headers=root)
    path = f"/api/keys/{made['key']['id']}"
    _, new = await running.call("POST", f"{path}/rotate", json={}, headers=root)
    assert new["previous"]["expires"] == made["key"]["expires"]
    await running.call("DELETE", path, headers=root)
    status, told = await running.call("POST", f"{path}/rotate", json={}, headers=root)
    assert (status, told["code"]) == (409, "key_ended")


@pytest.mark.parametrize(
    ("limit", "said"),
    [(-1, "bigger than or equal to 1"), (0, "bigger than or equal to 1"), (2**31, "smaller than"), ("60", "integer"),
     (1.5, "integer"), (True, "integer")],
    ids=str,
)  # fmt: skip
async def test_limits_that_cannot_be_are_refused_with_what_is_wrong(running: Any, limit: Any, said: str) -> None:
    """Of a new key and of one that is there."""
    root = await admin(running)
    _, made = await running.call("POST", "/api/keys", json={"owner": "ann"}, headers=root)
    rest = {"tokensPerMinute": None, "concurrency": 1, "requestsPerMinute": limit}
    limits = f"/api/keys/{made['key']['id']}/limits"
    for method, path, body in (("POST", "/api/keys", {"owner": "ann", **rest}), ("PUT", limits, rest)):
        status, told = await running.call(method, path, json=body, headers=root)
        assert (status, told["code"]) == (400, "invalid_request")
        assert told["error"].startswith("requestsPerMinute must be ")
        assert said in told["error"]


async def test_other_limits_hold_at_once(running: Any) -> None:
    """Fewer and more."""
    root = await admin(running)
    _, made = await running.call("POST", "/api/keys", json={"owner": "ann"}, headers=root)
    path, key = f"/api/keys/{made['key']['id']}/limits", shown(made["text"])
    for most, statuses in ((6, [200, 429]), (6000, [200, 200])):
        limits = {"requestsPerMinute": most, "tokensPerMinute": None, "concurrency": 8}
        assert (await running.call("PUT", path, json=limits, headers=root))[0] == 204
        assert [(await running.call("GET", "/api/identity", headers=key))[0] for _ in range(2)] == statuses


async def test_a_key_sees_something_else_at_once(running: Any) -> None:
    """Groups, contexts and tags take the place of those before; what cannot be is refused."""
    root = await admin(running)
    await running.store.create("payroll", readers=["group:hr"])
    _, made = await running.call("POST", "/api/keys", json={"owner": "ann"}, headers=root)
    path, key = f"/api/keys/{made['key']['id']}/view", shown(made["text"])
    for groups, contexts, statuses in (
        (["group:hr"], [], [200, 200]), (["group:hr"], ["payroll"], [404, 200]), ([], [], [200, 404]),
    ):  # fmt: skip
        view = {"groups": groups, "contexts": contexts, "tags": []}
        assert (await running.call("PUT", path, json=view, headers=root))[0] == 204
        names = ("handbook", "payroll")
        assert [(await running.call("GET", f"/api/contexts/{name}", headers=key))[0] for name in names] == statuses
    wrong = {"groups": ["hr"], "contexts": [], "tags": []}
    assert (await running.call("PUT", path, json=wrong, headers=root))[0] == 400


async def test_spend_is_told_by_key_owner_and_group(running: Any) -> None:
    """Tokens and money of the day, of all keys of an owner together, and once for each of their groups."""
    root = await admin(running)
    texts = []
    for groups in (["group:hr", "group:it"], ["group:hr"]):
        _, made = await running.call("POST", "/api/keys", json={"owner": "ann", "groups": groups}, headers=root)
        texts.append((made["key"]["id"], made["text"]))
        assert (await running.call("POST", "/api/queries", json=BODY, headers=shown(made["text"])))[0] == 200
    spend = {}
    for by in ("key", "owner", "group"):
        _, told = await running.call("GET", f"/api/spend?by={by}", headers=root)
        spend[by] = {
            row["name"]: (row["requests"], row["promptTokens"], row["completionTokens"]) for row in told["spend"]
        }
        assert {row["day"] for row in told["spend"]} <= {datetime.now(UTC).date().isoformat(), told["spend"][0]["day"]}
    assert spend["key"] == {id: (1, 7, 3) for id, _ in texts}
    assert spend["owner"] == {"ann": (2, 14, 6)}
    assert spend["group"] == {"group:hr": (2, 14, 6), "group:it": (1, 7, 3)}


async def test_spend_of_streams_and_of_openai_is_counted(running: Any) -> None:
    """Whatever API it came by; a day that is none is refused."""
    root = await admin(running)
    _, made = await running.call("POST", "/api/keys", json={"owner": "ann"}, headers=root)
    key = shown(made["text"])
    async with running.session.post(
        running.origin + "/api/queries", json={**BODY, "options": {"stream": True}}, headers=key
    ) as answer:
        await answer.read()
    chat = {"model": "nexus/own", "messages": [{"role": "user", "content": "How many?"}]}
    assert (await running.call("POST", "/v1/chat/completions", json=chat, headers=key))[0] == 200
    _, told = await running.call("GET", "/api/spend?by=owner", headers=root)
    assert [(row["name"], row["requests"]) for row in told["spend"]] == [("ann", 2)]
    assert (await running.call("GET", "/api/spend?since=2999-01-01", headers=root))[1] == {"spend": []}
    for query in ("since=tomorrow", "by=model", "until=2026-01-01"):
        assert (await running.call("GET", f"/api/spend?{query}", headers=root))[0] == 400


@pytest.mark.parametrize("scopes", [("query",), ("read",), ("query", "read")], ids="-".join)
async def test_who_does_not_administrate_manages_no_keys(running: Any, scopes: tuple[str, ...]) -> None:
    """Not even their own."""
    await admin(running)
    key, text = await ApiKeys(running.store).new("ann", scopes)
    await running.server.keys.renew()
    for method, path in (
        ("GET", "/api/keys"), ("POST", "/api/keys"), ("DELETE", f"/api/keys/{key.id}"), ("GET", "/api/spend"),
        ("POST", f"/api/keys/{key.id}/rotate"), ("PUT", f"/api/keys/{key.id}/limits"),
        ("PUT", f"/api/keys/{key.id}/view"),
    ):  # fmt: skip
        assert (await running.call(method, path, headers=shown(text)))[0] == 403

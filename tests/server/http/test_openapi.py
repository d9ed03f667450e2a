"""The OpenAPI document: valid, whole, and true of what the server answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from generated_pages import resolved
from openapi_spec_validator import OpenAPIV31SpecValidator

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Running, Start

SERVER = Path(__file__).parent.parent.parent.parent / "nexus_core" / "server"
HANDBOOK = "/api/contexts/handbook"
QUERY = {"query": "How many days of leave?", "contextId": "handbook"}
EVERYTHING = {**QUERY, "options": {"includeTrace": True, "conversationId": "monday"}}
QUESTION = {"model": "nexus/talk", "messages": [{"role": "user", "content": "How many days?"}]}
ASKED: list[tuple[str, str, str, Any]] = [
    ("POST", "/api/queries", "/api/queries", QUERY),
    ("POST", "/api/queries", "/api/queries", EVERYTHING),
    ("POST", "/api/queries", "/api/queries", {"query": ""}),
    ("GET", "/api/queries/models", "/api/queries/models", None),
    ("GET", "/api/queries/usage", "/api/queries/usage", None),
    ("PUT", "/api/queries/models/default", "/api/queries/models/default", {"modelId": "main"}),
    ("GET", "/api/pipelines", "/api/pipelines", None),
    ("GET", "/v1/models", "/v1/models", None),
    ("GET", "/v1/models/nexus/talk", "/v1/models/{model}", None),
    ("GET", "/v1/models/nexus/none", "/v1/models/{model}", None),
    ("POST", "/v1/chat/completions", "/v1/chat/completions", QUESTION),
    ("POST", "/v1/chat/completions", "/v1/chat/completions", {**QUESTION, "n": 2}),
    ("GET", "/api/contexts", "/api/contexts", None),
    ("POST", "/api/contexts", "/api/contexts", {"name": "new"}),
    ("POST", "/api/contexts", "/api/contexts", {"name": "handbook"}),
    ("GET", HANDBOOK, "/api/contexts/{contextId}", None),
    ("GET", f"{HANDBOOK}/items?limit=1", "/api/contexts/{contextId}/items", None),
    ("POST", f"{HANDBOOK}/items", "/api/contexts/{contextId}/items", {"items": [{"id": "a", "text": "b"}]}),
    ("GET", f"{HANDBOOK}/items/leave", "/api/contexts/{contextId}/items/{itemId}", None),
    ("DELETE", f"{HANDBOOK}/items/leave", "/api/contexts/{contextId}/items/{itemId}", None),
    ("POST", f"{HANDBOOK}/search", "/api/contexts/{contextId}/search", {"query": "trains"}),
    ("GET", f"{HANDBOOK}/counts?field=tags", "/api/contexts/{contextId}/counts", None),
    ("GET", f"{HANDBOOK}/counts?where=x", "/api/contexts/{contextId}/counts", None),
    ("POST", f"{HANDBOOK}/tags", "/api/contexts/{contextId}/tags", {"ids": ["leave"], "add": ["x"]}),
    ("GET", f"{HANDBOOK}/documents", "/api/contexts/{contextId}/documents", None),
    ("POST", f"{HANDBOOK}/documents?name=a.md", "/api/contexts/{contextId}/documents", "Some words."),
    ("DELETE", f"{HANDBOOK}/documents/none", "/api/contexts/{contextId}/documents/{document}", None),
    ("GET", "/api/conversations", "/api/conversations", None),
    ("GET", "/api/conversations/none", "/api/conversations/{conversationId}", None),
    ("POST", "/api/queries", "/api/queries", {**QUERY, "options": {"background": True}}),
    ("GET", "/api/runs/none", "/api/runs/{runId}", None),
    ("DELETE", "/api/runs/none", "/api/runs/{runId}", None),
    ("POST", "/v1/responses", "/v1/responses", {"model": "nexus/talk", "input": "Why?", "background": True}),
    ("GET", "/v1/responses/resp_none", "/v1/responses/{responseId}", None),
    ("POST", "/v1/responses/resp_none/cancel", "/v1/responses/{responseId}/cancel", None),
    ("DELETE", "/v1/responses/resp_none", "/v1/responses/{responseId}", None),
    ("GET", "/healthz", "/healthz", None),
    ("GET", "/readyz", "/readyz", None),
]


async def told(running: Running) -> dict[str, Any]:
    """Return the document, with its components where they are used as well as in their place."""
    _, found = await running.call("GET", "/openapi.json")
    assert isinstance(found, dict)
    return resolved(found)


async def test_document_is_valid(running: Running) -> None:
    """As OpenAPI 3.1 says it, at both of its addresses."""
    document = (await running.call("GET", "/openapi.json"))[1]
    OpenAPIV31SpecValidator(document).validate()
    assert (await running.call("GET", "/api/openapi.json"))[1] == document


async def test_document_holds_every_route_and_schema(running: Running) -> None:
    """With the prefix of the server, a status of success, and a body or answer wherever there is one."""
    document = await told(running)
    for path, methods in document["paths"].items():
        assert ":" not in path
        for method, operation in methods.items():
            assert min(operation["responses"]) in ("200", "201", "204", "303"), path
            has_body = method in ("post", "put", "patch") and not path.endswith(
                ("/cancel", "/reload")
            )  # what they do is all said
            assert ("requestBody" in operation) == has_body, path
            for answer in operation["responses"].values():
                schema = answer.get("content", {}).get("application/json", {}).get("schema", {"type": ""})
                assert schema, path
    in_document = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    settings = running.server.settings
    served = {
        (route.method, re.sub(r":[^{}]*}", "}", route.path if route.bare else settings.prefix + route.path))
        for route in running.server.routes()
    }
    assert in_document <= served
    assert all(path.startswith("/page/") for _, path in served - in_document)  # files of the page are no part of it
    assert len(in_document) > 50


async def test_document_tells_what_takes_a_key(running: Running) -> None:
    """All but the pages, the documents, the health and the sign-in."""
    public = {
        path
        for path, methods in (await told(running))["paths"].items()
        if any(operation["security"] == [] for operation in methods.values())
    }
    assert public == {
        "/", "/admin", "/shared", "/docs", "/openapi.json", "/api/openapi.json", "/healthz", "/readyz", "/auth/login",
        "/auth/callback", "/auth/session",
    }  # fmt: skip


@pytest.mark.parametrize(("method", "path", "route", "body"), ASKED, ids=lambda value: str(value)[:30])
async def test_answer_is_what_the_document_says(
    running: Running, method: str, path: str, route: str, body: Any
) -> None:
    """Status and body of answers and failures stand in it."""
    document = await told(running)
    sent = {"data": body} if isinstance(body, str) else {"json": body} if body is not None else {}
    status, answer = await running.call(method, path, **sent)
    responses = document["paths"][route][method.lower()]["responses"]
    assert str(status) in responses
    if status != 204:
        schema = responses[str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer, schema)


async def test_nothing_is_answered_without_a_key(start: Start) -> None:
    """No operation that takes one, whatever is sent (faults 196 and 197)."""

    async def nobody(key: str) -> None:
        return None

    running = await start(verify=nobody)
    for path, methods in (await told(running))["paths"].items():
        for method, operation in methods.items():
            if operation["security"]:
                status, _ = await running.call(method, re.sub(r"\{\w+\}", "x", path), json={"query": "x"})
                assert status in (401, 429), path  # after some that are wrong, an address has to wait


async def test_prefix_is_in_the_document(start: Start) -> None:
    """And not before the addresses of OpenAI's API."""
    running = await start(prefix="/ask")
    paths = (await told(running))["paths"]
    assert {"/ask/queries", "/v1/models", "/ask/openapi.json"} <= set(paths)
    assert not any(path.startswith("/api") for path in paths)


async def test_page_of_the_document_reaches_no_other_host(running: Running) -> None:
    """It is one file, and its policy allows this server alone."""
    async with running.session.get(f"{running.origin}/docs") as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert re.findall(r"https?://|src=|@import", page) == []
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy


async def test_document_is_plain_json(running: Running) -> None:
    """It can be kept as a file: no NaN, no name twice."""
    async with running.session.get(f"{running.origin}/openapi.json") as response:
        text = await response.text()

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=once)


async def test_page_names_every_address(running: Running) -> None:
    """With its method, in the table."""
    page = (SERVER.parents[1] / "docs" / "reference" / "server.md").read_text("utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    for path, methods in (await told(running))["paths"].items():
        for method in methods:
            assert any(f"{path}`" in row and f"`{method.upper()}" in row for row in rows), (method, path)


def test_page_names_every_code_of_a_failure() -> None:
    """Programs read them."""
    page = (SERVER.parents[1] / "docs" / "reference" / "server.md").read_text("utf-8")
    sources = "".join(path.read_text("utf-8") for path in SERVER.rglob("*.py"))
    codes = set(re.findall(r'(?:Failure\(\s*|Error, )\d{3},\s*"(\w+)"', sources))
    assert len(codes) > 30
    assert sorted(code for code in codes if f"`{code}`" not in page) == []

"""MCP over loopback sockets, by the SDK's own client in both eras of the protocol."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, Resource, TextContent, TextResourceContents

from nexus_core import Item
from nexus_core.contract.errors import RateLimitError
from nexus_core.server.access.identity import Identity
from nexus_core.server.mcp.protocol_server import ERROR_KEY
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.testing.upstream import ScriptedUpstream, Silence, chat_events, stream_answer
from tests.server.mcp.conftest import ASKS, ERAS, Connect, arrived, connected

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running, Start


QUESTION = "How many days of leave?"


def text_of(result: CallToolResult) -> str:
    """Return the text of a result."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def error_code(result: CallToolResult) -> str:
    """Return the code of a result that is an error."""
    assert result.is_error, result
    assert result.meta is not None
    code: str = result.meta[ERROR_KEY]["code"]
    assert text_of(result).startswith(f"{code}: ")
    return code


async def test_tools_are_listed_with_their_schemas(connect: Connect) -> None:
    """Three of the server's own, then one for each pipeline; contexts stand in an enum."""
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert [*tools] == ["search", "read", "ask", "ask_quotes", "ask_talk", "ask_own"]
        assert tools["search"].input_schema["properties"]["context"]["enum"] == ["handbook"]
        assert tools["ask"].input_schema["properties"]["pipeline"]["enum"] == ["quotes", "talk", "own"]
        assert tools["ask_quotes"].description == "Quotes a context of the store."
        assert tools["ask_quotes"].input_schema["required"] == ["question", "context"]
        assert "context" not in tools["ask_own"].input_schema["properties"]
        inputs = tools["ask_talk"].input_schema["properties"]["inputs"]["properties"]
        assert inputs == {
            "systemPrompt": {"type": "string", "default": "", "description": "What the model is told first."}
        }
        assert all(
            tool.output_schema and tool.annotations and tool.annotations.read_only_hint for tool in tools.values()
        )


async def test_search_finds_what_read_and_resources_read(connect: Connect) -> None:
    """By the same URI, in whatever way it is read."""
    async with connect() as client:
        found = await client.call_tool("search", {"context": "handbook", "query": "consent of a manager", "limit": 1})
        (best,) = found.structured_content["found"]
        assert (best["uri"], best["isCut"]) == ("nexus://handbook/items/flights", False)
        assert "Flights need the consent of a manager." in text_of(found)
        read = await client.call_tool("read", {"uri": best["uri"]})
        assert read.structured_content["text"] == best["text"] == text_of(read)
        (contents,) = (await client.read_resource(best["uri"])).contents
        assert isinstance(contents, TextResourceContents)
        assert (contents.text, contents.mime_type) == (best["text"], "text/plain")
        document = await client.call_tool("read", {"uri": "nexus://handbook/documents/travel.md"})
        assert document.structured_content["text"] == "Trains are booked in second class."


@pytest.mark.parametrize(
    ("tool", "more"),
    [("ask", {}), ("ask", {"pipeline": "quotes"}), ("ask_quotes", {})],
    ids=["default", "named", "own-tool"],
)
async def test_an_answer_cites_what_can_be_read(connect: Connect, tool: str, more: dict[str, str]) -> None:
    """As structured content with its sources, which the tool `read` reads; the text has them, too."""
    async with connect() as client:
        told: list[str | None] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            told.append(message)

        arguments = {"context": "handbook", "question": QUESTION, **more}
        result = await client.call_tool(tool, arguments, progress_callback=note)
        answer = result.structured_content
        assert answer["text"] == "Everybody has 28 days of leave a year. [1]"
        (citation,) = answer["citations"]
        assert citation == {
            "number": 1, "uri": "nexus://handbook/items/leave", "title": "Leave",
            "quote": "Everybody has 28 days of leave a year.",
        }  # fmt: skip
        assert text_of(result) == answer["text"] + "\n\nSources:\n- [1] Leave: nexus://handbook/items/leave"
        assert (answer["model"], answer["pipeline"], answer["context"]) == ("extractive", "quotes", "handbook")
        assert answer["usage"]["usageSource"] == "estimated"
        assert told == ["searching", "searched: 1 item", "asking main"]
        assert (await client.read_resource(citation["uri"])).contents


FIXED = """name: fixed
models: {main: extractive}
steps:
- gather: {use: store, context: handbook, path: STORE}
- gather: {use: inline, items: [{id: flights, text: Many days of leave have many days.}]}
- prompt: qa
- generate: main
"""


@pytest.mark.parametrize("scopes", [["query", "read"], ["query"]], ids=["reader", "asker"])
async def test_what_a_pipeline_finds_in_a_context_of_its_own_can_be_read(
    start: Start, handbook: Path, tmp_path: Path, mode: str, scopes: list[str]
) -> None:
    """By those who may read it; what only has the id of something in the store has no address."""
    shutil.copytree(handbook, tmp_path / "store")
    running = await start(pipelines={"fixed": FIXED.replace("STORE", str(tmp_path / "store"))})
    _, key = await ApiKeys(running.store).new("ann", scopes=scopes)
    running.server.keys._read_at = None  # type: ignore[union-attr]
    async with connected(running.origin, mode, Authorization=f"Bearer {key}") as client:
        result = await client.call_tool("ask_fixed", {"question": QUESTION})
        addresses = {each["title"]: each["uri"] for each in result.structured_content["citations"]}
    assert addresses == {"Leave": "nexus://handbook/items/leave" if "read" in scopes else "", "flights": ""}


async def test_a_pipeline_is_given_its_inputs(connect: Connect, fakes: Fakes) -> None:
    """By the tool of its own and by `ask`; what does not match their schema is told, for the model to correct."""
    async with connect() as client:
        asked = {"context": "handbook", "question": QUESTION}
        for tool, more in (("ask_talk", {}), ("ask", {"pipeline": "talk"})):
            result = await client.call_tool(tool, {**asked, **more, "inputs": {"systemPrompt": f"Be kind to {tool}."}})
            assert result.structured_content["text"] == "An answer."
            assert f"Be kind to {tool}." in fakes.connectors["main"].prompts[-1].messages[0].text
        wrong = await client.call_tool("ask_talk", {**asked, "inputs": {"systemprompt": "Be kind."}})
        assert (error_code(wrong), "did you mean 'systemPrompt'" in text_of(wrong)) == ("invalid_request", True)


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("search", {"context": "nowhere", "query": "leave"}, "context_not_found"),
        ("search", {"context": "handbook"}, "invalid_request"),
        ("search", {"context": "handbook", "query": "leave", "limit": 51}, "invalid_request"),
        ("search", {"context": "handbook", "query": " "}, "invalid_request"),
        ("read", {"uri": "file:///etc/passwd"}, "invalid_request"),
        ("read", {"uri": "nexus://handbook/items/nothing"}, "item_not_found"),
        ("read", {"uri": "nexus://handbook/documents/nothing.md"}, "document_not_found"),
        ("ask", {"question": QUESTION, "context": "nowhere"}, "context_not_found"),
        ("ask", {"question": QUESTION, "context": "handbook", "pipeline": "nothing"}, "invalid_request"),
        ("ask", {"question": " ", "context": "handbook"}, "invalid_request"),
        ("ask_own", {"question": QUESTION, "context": "handbook"}, "invalid_request"),
        ("ask_own", {"question": QUESTION, "model": "main"}, "invalid_request"),
    ],
)  # fmt: skip
async def test_what_a_tool_cannot_do_is_its_result(
    connect: Connect, tool: str, arguments: dict[str, Any], code: str
) -> None:
    """With a code that programs read, and words for the model."""
    async with connect() as client:
        assert error_code(await client.call_tool(tool, arguments)) == code


async def test_what_is_not_there_is_an_error_of_the_protocol(connect: Connect) -> None:
    """A tool, a resource, a prompt, an argument of a prompt, a cursor."""
    async with connect() as client:
        calls = {
            "Unknown tool": client.call_tool("nothing", {}),
            "is no URI of this server": client.read_resource("nexus://handbook"),
            "there is no item": client.read_resource("nexus://handbook/items/nothing"),
            "there is no prompt 'nothing'": client.get_prompt("nothing", {"question": QUESTION}),
            "the argument 'context' is missing": client.get_prompt("quotes", {"question": QUESTION}),
            "no argument 'model'": client.get_prompt("own", {"question": QUESTION, "model": "main"}),
            "the cursor is none of this server": client.list_resources(cursor="W10="),
        }
        for said, call in calls.items():
            with pytest.raises(MCPError, match=said) as raised:
                await call
            assert raised.value.error.code == -32602


async def test_a_failure_of_a_model_is_told_without_its_words(running: Running, mode: str, fakes: Fakes) -> None:
    """To those who are no operators: their words are in the log alone."""
    running.server.gate._verify = verify_query
    fakes.connectors["own"].replies = [RateLimitError("c4n4ry of the service", provider="fake", model="fake-1")]
    async with connected(running.origin, mode, Authorization="Bearer query") as client:
        result = await client.call_tool("ask_own", {"question": QUESTION})
    assert error_code(result) == "upstream_rate_limit"
    assert "c4n4ry" not in str(result)


async def verify_query(key: str) -> Identity | None:
    """Know a key of somebody who asks and does nothing else."""
    return Identity(owner="ann", scopes=frozenset({"query"})) if key == "query" else None


async def test_resources_are_listed_page_by_page(running: Running, connect: Connect) -> None:
    """Each once, through all contexts, whatever their names and ids are."""
    async with connect() as client:
        odd = ["a/b", "c?d#e", "%2F", "ü ", "..", "x" * 300]
        await running.store.create("another/context")
        await running.store.add("another/context", [Item(id=each, text=f"Text of {each}.") for each in odd])
        await running.store.add("another/context", [Item(id=f"n{n:03}", text="Text.") for n in range(150)])
        found = list[Resource]()
        cursor, pages = None, 0
        while pages == 0 or cursor is not None:
            page = await client.list_resources(cursor=cursor)
            found, cursor, pages = [*found, *page.resources], page.next_cursor, pages + 1
        assert (len(found), len({each.uri for each in found}), pages) == (159, 159, 2)
        for each in found:
            if each.name in odd:
                (contents,) = (await client.read_resource(each.uri)).contents
                assert isinstance(contents, TextResourceContents)
                assert contents.text == f"Text of {each.name}."
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == [
            "nexus://{context}/items/{id}", "nexus://{context}/documents/{source}",
        ]  # fmt: skip


async def test_a_long_item_is_read_in_parts(running: Running, connect: Connect) -> None:
    """By the tool, each part with where the next begins; as a resource it is refused where it is too long for one."""
    async with connect() as client:
        whole = "".join(f"{number:07} " for number in range(140_000))
        await running.store.add("handbook", [Item(id="long", text=whole)])
        uri, read, offset = "nexus://handbook/items/long", "", 0
        while offset is not None:
            part = (await client.call_tool("read", {"uri": uri, "offset": offset})).structured_content
            read, offset = read + part["text"], part["next"]
        assert read == whole
        with pytest.raises(MCPError, match="read it in parts"):
            await client.read_resource(uri)


async def test_a_prompt_is_what_the_pipeline_would_send(connect: Connect, fakes: Fakes) -> None:
    """With what it finds, and without any request to a model."""
    async with connect() as client:
        prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        assert [*prompts] == ["quotes", "talk", "own"]
        assert [each.name for each in prompts["talk"].arguments or ()] == ["question", "context", "systemPrompt"]
        arguments = {"question": QUESTION, "context": "handbook", "systemPrompt": "Be kind."}
        messages = (await client.get_prompt("talk", arguments)).messages
        texts = [each.content.text for each in messages if isinstance(each.content, TextContent)]
        assert "Be kind." in texts[0]
        assert "Everybody has 28 days of leave a year." in texts[-1]
        assert fakes.connectors["main"].prompts == []


async def test_a_conversation_goes_on_for_its_owner(connect: Connect, fakes: Fakes) -> None:
    """The same id is the same conversation."""
    async with connect() as client:
        asked = {"question": QUESTION, "context": "handbook", "conversation": "monday"}
        await client.call_tool("ask_talk", asked)
        result = await client.call_tool("ask_talk", {**asked, "question": "And in half a year?"})
        assert result.structured_content["conversation"] == "monday"
        assert QUESTION in " ".join(message.text for message in fakes.connectors["main"].prompts[-1].messages)


async def test_progress_tells_how_long_an_answer_is(connect: Connect, fakes: Fakes) -> None:
    """While it comes, as often as is worth a message."""
    async with connect() as client:
        fakes.connectors["own"].replies = ["word " * 600]
        told: list[tuple[float, str | None]] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            told.append((progress, message))

        await client.call_tool("ask_own", {"question": QUESTION}, progress_callback=note)
        counts = [message for _, message in told if message and message.endswith("characters of the answer")]
        assert (2 <= len(counts) <= 3, [progress for progress, _ in told]) == (True, [*range(1, len(told) + 1)])


@pytest.mark.parametrize("mode", ERAS.values(), ids=ERAS)
@pytest.mark.parametrize("way", ["scope", "gone"])
async def test_a_call_that_is_cancelled_ends_at_its_upstream(start: Start, tmp_path: Path, mode: str, way: str) -> None:
    """By the client that says so, and by one whose connection is gone; others of its session go on."""
    async with ScriptedUpstream([Silence()], stream_answer(chat_events("Yes."))) as upstream:
        running = await start(pipelines={"asks": ASKS.format(url=upstream.url)})
        if way == "scope":
            async with connected(running.origin, mode) as client:
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(client.call_tool, "ask", {"question": "Is it so?"})
                        await arrived(upstream, 1)
                        scope.cancel()
                assert await closed(upstream)
                result = await client.call_tool("ask", {"question": "Is it so?"})
                assert result.structured_content["text"] == "Yes."
        else:
            message = await raw_call(running, mode)
            request = asyncio.create_task(running.session.post(f"{running.origin}/mcp", **message).__aenter__())
            await arrived(upstream, 1)
            request.cancel()
            await asyncio.wait([request])
            if not request.cancelled():
                request.result().close()
            assert await closed(upstream)
        async with asyncio.timeout(5):
            while running.server.gate.places.running:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)


async def closed(upstream: ScriptedUpstream) -> bool:
    """Tell whether the first connection is closed by its client soon."""
    return await upstream.connections[0].closed_within(5)


async def raw_call(running: Running, mode: str) -> dict[str, Any]:
    """Return the request of a call of the tool `ask` as it goes over the wire."""
    headers = {"Accept": "application/json, text/event-stream"}
    params: dict[str, Any] = {"name": "ask", "arguments": {"question": "Is it so?"}}
    if mode != "legacy":
        headers |= {"MCP-Protocol-Version": mode, "Mcp-Method": "tools/call", "Mcp-Name": "ask"}
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": mode,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    return {"json": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, "headers": headers}


async def test_others_cannot_cancel_a_call(start: Start, tmp_path: Path) -> None:
    """Not without the session that it belongs to: what is cancelled is named by both."""
    async with ScriptedUpstream([Silence()]) as upstream:
        running = await start(pipelines={"asks": ASKS.format(url=upstream.url)})
        message = await raw_call(running, "legacy")
        message["headers"]["Mcp-Session-Id"] = "one"
        request = asyncio.create_task(running.session.post(f"{running.origin}/mcp", **message).__aenter__())
        await arrived(upstream, 1)
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        for session in ("other", ""):
            headers = {**message["headers"], "Mcp-Session-Id": session}
            status, _ = await running.call("POST", "/mcp", json=cancel, headers=headers)
            assert (status, running.server.gate.places.running) == (202, 1)
        assert (await running.call("POST", "/mcp", json=cancel, headers=message["headers"]))[0] == 202
        assert await closed(upstream)
        response = await request
        assert json.loads((await response.text()).partition("data: ")[2])["error"]["code"] == -32800


async def test_the_first_request_alone_brings_the_sdk(start: Start, handbook: Path, tmp_path: Path) -> None:
    """A server that nobody speaks MCP with has no session manager, and ends as any other."""
    shutil.copytree(handbook, tmp_path / "store")
    running = await start()
    assert running.server.mcp._starting is None
    async with connected(running.origin, "legacy") as client:
        await client.list_tools()
    assert running.server.mcp._holding is not None

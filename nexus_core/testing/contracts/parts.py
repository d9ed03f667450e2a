"""The connector suite, part of what is more than text: images, files, tools, their calls and results, a schema.

The tests look for what was given in the bytes of the request, so that a dialect need not read any of it. They hold for
what the model takes by its `model_info.capabilities`; what a service cannot do though the model can is declared absent.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping

import pytest
from attrs import evolve

from nexus_core.contract.prompts import Prompt
from nexus_core.contract.protocols import Connector
from nexus_core.contract.values import (
    CallOptions,
    Chunk,
    Completion,
    FilePart,
    ImagePart,
    Message,
    Part,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from nexus_core.testing.answers import http_answer, stream_answer
from nexus_core.testing.contracts.calls import NO_OPTIONS, PROMPT, CallOutcome, Scene, ask, with_required
from nexus_core.testing.contracts.service import HOW, ServiceSuite
from nexus_core.testing.contracts.suite import run
from nexus_core.testing.dialect import ToolDialect
from nexus_core.testing.script import HalfClose

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\x06\0\0\0"
_PDF = b"%PDF-1.4 carrowbeg"
_ADDRESS = "https://carrowbeg.example/mill.png"
_BEFORE, _AFTER = "What the picture shows", "and whether it is open"
_NEEDED = {"images": "vision", "image_urls": "vision", "files": "files", "tools": "tools", "tool_results": "tools",
           "tool_calls": "tools", "schema": "schema"}  # fmt: skip
"""The capability of the model that each capability of the suite goes with."""
_TOOL = ToolDefinition(
    name="opening_times",
    description="Tells when a carrowbeg_mill is open",
    parameters={"type": "object", "properties": {"carrowbeg_day": {"type": "string"}}, "required": ["carrowbeg_day"]},
)
_CALL = ToolCall(id="call_suite1", name="opening_times", arguments='{"carrowbeg_day":"Sunday_1871"}')
_WITH_TOOL = CallOptions(tools=(_TOOL,))
_SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {"carrowbeg_open": {"type": "boolean"}},
    "required": ["carrowbeg_open"],
    "additionalProperties": False,
}


class PartTests(ServiceSuite):
    """Parts of messages, tools, schemas."""

    def test_images_reach_the_service(self) -> None:
        """The bytes of an image arrive in base64, between the texts that they stand between.

        Fix: write each part of `message.content` where it is a tuple. Absent: `images`.
        """
        self._takes("images")
        self._check_images()

    def test_addresses_of_images_reach_the_service(self) -> None:
        """An image that is given by its address is fetched by the service, never by the connector.

        Fix: send `part.url`. Absent: `image_urls`, then raise InvalidRequestError for one.
        """
        self._takes("image_urls")
        self._check_image_urls()

    def test_files_reach_the_service(self) -> None:
        """The bytes of a file arrive in base64.

        Fix: write a `FilePart` as the service wants its documents. Absent: `files`.
        """
        self._takes("files")
        self._check_files()

    def test_tools_reach_the_service(self) -> None:
        """A definition arrives with its name, its description and the schema of its arguments.

        Fix: send `options.tools`. Absent: `tools`.
        """
        self._takes("tools")
        self._check_tools()

    def test_results_of_tools_reach_the_service(self) -> None:
        """A call that the model asked for goes back to it with its arguments, and after it the result.

        Fix: send `message.tool_calls`, and a message with the role `tool` as the result of its `tool_call_id`. Absent:
        `tool_results`.
        """
        self._takes("tool_results")
        self._check_tool_results()

    def test_calls_of_tools_are_read(self) -> None:
        """A call that the model asks for comes whole, with its arguments as JSON; half of one never passes for it.

        Fix: give `tool_calls` with the answer, or in the chunks of a stream, and the finish reason `tool_calls`. The
        dialect says the bytes by `ask_tool` (`ToolDialect`). Absent: `tool_calls`.
        """
        self._takes("tool_calls")
        if not isinstance(self._wire(), ToolDialect):
            pytest.skip("the dialect has no `ask_tool`, which says how the service asks for a call (`ToolDialect`)")
        self._check_tool_calls()

    def test_schema_reaches_the_service(self) -> None:
        """A model with the capability `schema` is given the schema of the answer.

        Fix: send `options.response_schema`. Absent: `schema`.
        """
        self._takes("schema")
        self._check_schema()

    def _takes(self, capability: str) -> None:
        """Skip where a capability is absent, or the model does not take such things."""
        self._needs(capability)
        self._wire()
        if not self._model_takes(capability):
            pytest.skip(f"the model takes none: `{_NEEDED[capability]}` is not in its capabilities")

    def _model_takes(self, capability: str) -> bool:
        return _NEEDED[capability] in self.make("http://127.0.0.1:9/v1").model_info.capabilities

    def _check_images(self) -> None:
        image = ImagePart(data=_PNG, media_type="image/png")
        self._sends("images", [_BEFORE, b64encode(_PNG).decode(), _AFTER], parts=image)

    def _check_image_urls(self) -> None:
        self._sends("image_urls", [_ADDRESS], parts=ImagePart(url=_ADDRESS))

    def _check_files(self) -> None:
        file = FilePart(data=_PDF, media_type="application/pdf", filename="mill.pdf")
        self._sends("files", [_BEFORE, b64encode(_PDF).decode(), _AFTER], parts=file)

    def _check_tools(self) -> None:
        said = [_TOOL.name, _TOOL.description, "carrowbeg_day"]
        self._sends("tools", said, options=CallOptions(tools=(_TOOL,)), in_order=False)

    def _check_tool_results(self) -> None:
        messages = (
            *PROMPT.messages,
            Message("assistant", "", tool_calls=(_CALL,)),
            Message("tool", "from_noon_1871", tool_call_id=_CALL.id),
        )
        prompt = evolve(PROMPT, messages=messages)
        options = CallOptions(tools=(_TOOL,))
        self._sends("tool_results", ["Sunday_1871", "from_noon_1871"], prompt=prompt, options=options)

    def _check_tool_calls(self) -> None:
        assert self._model_takes("tool_calls"), "`tools` is not in the capabilities of the model"
        dialect = self._wire()
        assert isinstance(dialect, ToolDialect), "the dialect has no `ask_tool`"
        body, good = dialect.ask_tool(_CALL)
        outcome = run(Scene(self.make, *http_answer(body)).call(ask_calls, _WITH_TOOL))
        _check_call("whole", outcome)
        if "streaming" in self.absent:
            return
        script = stream_answer(good.pieces, content_type=dialect.content_type)
        _check_call("streamed", run(Scene(self.make, *script).call(stream_calls, _WITH_TOOL)))
        for at in range(good.needed):
            cut = stream_answer([*good.pieces[:at], HalfClose()], content_type=dialect.content_type, ends=False)
            outcome = run(Scene(self.make, *cut).call(stream_calls, _WITH_TOOL))
            assert not outcome.complete, f"cut after {at} pieces, {good.needed} being needed, a call passes for whole"

    def _check_schema(self) -> None:
        self._sends("schema", ["carrowbeg_open"], options=CallOptions(response_schema=_SCHEMA))

    def _sends(
        self,
        what: str,
        said: list[str],
        *,
        parts: Part | None = None,
        prompt: Prompt = PROMPT,
        options: CallOptions = NO_OPTIONS,
        in_order: bool = True,
    ) -> None:
        """Fail where a request does not hold these texts, or not in this order."""
        assert self._model_takes(what), f"`{_NEEDED[what]}` is not in the capabilities of the model"
        if parts is not None:
            content = (TextPart(_BEFORE), parts, TextPart(_AFTER))
            prompt = evolve(prompt, messages=(*PROMPT.messages[:-1], Message("user", content)))
        for how in self._ways():
            scene = Scene(self.make, *self._script(how))
            outcome = run(scene.call(HOW[how], options, prompt))
            assert outcome.complete, f"{how}: a call with {what} that the service answers well ended in {outcome}"
            body = scene.upstream.requests[0].body.decode("utf-8", "replace").replace("\\/", "/")
            places = [body.find(text) for text in said]
            missing = [text for text, place in zip(said, places, strict=True) if place < 0]
            assert not missing, f"{how}: {missing[0][:60]!r} of the {what} is not in the request"
            assert not in_order or places == sorted(places), f"{how}: the parts of {what} do not stand in their order"


async def ask_calls(connector: Connector, options: CallOptions, prompt: Prompt) -> CallOutcome:
    """Ask for a whole answer; the text of the outcome is what it calls."""
    outcome = await ask(connector, options, prompt)
    calls = outcome.last.tool_calls if isinstance(outcome.last, Completion) else ()
    return evolve(outcome, text="".join(_said(call.name, call.arguments) for call in calls))


async def stream_calls(connector: Connector, options: CallOptions, prompt: Prompt) -> CallOutcome:
    """Read a stream to its end; the text of the outcome is what it calls, its parts put together by their index."""
    names, arguments = dict[int, str](), dict[int, str]()
    last: Chunk | None = None
    try:
        async for last in connector.stream_response(prompt, with_required(connector.model_info, options)):
            for part in last.tool_calls:
                names[part.index] = names.get(part.index, "") + part.name
                arguments[part.index] = arguments.get(part.index, "") + part.arguments
    except Exception as error:  # noqa: BLE001 - whatever comes is what the test looks at
        return CallOutcome(error=error, last=last)
    return CallOutcome("".join(_said(names[index], arguments[index]) for index in sorted(names)), None, last)


def _said(name: str, arguments: str) -> str:
    return f"{name}({json.dumps(json.loads(arguments), sort_keys=True)})"


def _check_call(how: str, outcome: CallOutcome) -> None:
    assert outcome.complete, f"a {how} answer that calls a tool ended in {outcome}"
    expected = _said(_CALL.name, _CALL.arguments)
    assert outcome.text == expected, f"the {how} answer calls {outcome.text or 'nothing'}, and the service {expected}"
    reason = outcome.last.finish_reason if outcome.last else None
    assert reason == "tool_calls", f"the {how} answer that calls a tool has the finish reason {reason!r}"

"""The connector suite, part of what is more than text: images, files, tools, their calls and results, a schema.

The tests look for what was given in the bytes of the request, so that a dialect need not read any of it. They hold for
what the model takes by its `model_info.capabilities`; what a service cannot do though the model can is declared absent.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

import pytest
from attrs import evolve

from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import (
    CallOptions,
    FilePart,
    ImagePart,
    Message,
    Part,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from nexus_core.testing.contracts.calls import NO_OPTIONS, PROMPT, Scene
from nexus_core.testing.contracts.service import HOW, ServiceSuite
from nexus_core.testing.contracts.suite import run

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\x06\0\0\0"
_PDF = b"%PDF-1.4 carrowbeg"
_ADDRESS = "https://carrowbeg.example/mill.png"
_BEFORE, _AFTER = "What the picture shows", "and whether it is open"
_NEEDED = {"images": "vision", "image_urls": "vision", "files": "files", "tools": "tools", "tool_results": "tools",
           "schema": "schema"}  # fmt: skip
"""The capability of the model that each capability of the suite goes with."""
_TOOL = ToolDefinition(
    name="opening_times",
    description="Tells when a carrowbeg_mill is open",
    parameters={"type": "object", "properties": {"carrowbeg_day": {"type": "string"}}, "required": ["carrowbeg_day"]},
)
_CALL = ToolCall(id="call_suite1", name="opening_times", arguments='{"carrowbeg_day":"Sunday_1871"}')
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

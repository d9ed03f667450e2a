"""Prompts that hold more than text: counted, put in order, refused where the model does not take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import frozen

from nexus_core import (
    CallOptions,
    FilePart,
    ImagePart,
    ImageTokens,
    Message,
    ModelInfo,
    NotConfiguredError,
    Prompt,
    PromptTooLongError,
    Ranking,
    TemplateError,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from nexus_core.contract.values import NOTHING_ASKED
from nexus_core.engine.packing.packer import Draft, pack
from nexus_core.engine.steps import BareQuery
from nexus_core.toolkit.templates.template import TextTemplate
from nexus_core.toolkit.tokens.counter import TokenCounter, token_counter

CHAT = TextTemplate.parse("[system]\nBe brief.\n[history]\n[user]\n{{ query }}", "chat")
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\4\0\0\0\4\0\x08\x02\0\0\0"
"""The beginning of an image of 1024 x 1024 pixels."""
IMAGE = ImagePart(data=PNG, media_type="image/png", detail="high")
PDF = FilePart(data=b"%PDF-", media_type="application/pdf", filename="a.pdf")
WEATHER = ToolDefinition(name="weather", description="Tells the weather.", parameters={"type": "object"})
CALLS = (
    Message("user", "How is it in Oslo?"),
    Message("assistant", "", tool_calls=(ToolCall(id="c1", name="weather", arguments='{"city": "Oslo"}'),)),
    Message("tool", "Rain.", tool_call_id="c1"),
    Message("assistant", "It rains."),
)


@frozen(kw_only=True)
class FixedMessages:
    """A template that says the same whatever it is given."""

    messages: tuple[Message, ...]
    variables: frozenset[str] = frozenset()

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        return self.messages


def info(*capabilities: str, window: int = 8192, **more: Any) -> ModelInfo:
    tiles = ImageTokens(formula="tiles", at_most=1445, base=85, per_tile=170)
    known: dict[str, Any] = {"image_tokens": tiles, "file_tokens_at_most": 2000, "encoding": "o200k_base", **more}
    return ModelInfo(id="m", provider="p", window=window, capabilities=frozenset(capabilities), **known)


def counter() -> TokenCounter:
    return token_counter("o200k_base")


def packed(model: ModelInfo, options: CallOptions = NOTHING_ASKED, *, exact: bool = True, **draft: Any) -> Prompt:
    made = Draft(**{"template": BareQuery(), "ranking": Ranking(()), "query": "What is it?", **draft})
    return pack(made, model, reserved=100, counter=counter, options=options, exact=exact)


def test_images_count_by_their_formula() -> None:
    """765 tokens more than the text alone, exactly; an address counts what any image may."""
    alone = packed(info("vision")).prompt_tokens or 0
    assert packed(info("vision"), attachments=(IMAGE,)).prompt_tokens == alone + 765
    far = packed(info("vision"), attachments=(ImagePart(url="https://example.org/a.png"),))
    assert (far.prompt_tokens, far.tokens_at_most) == (None, alone + 1445)


def test_files_and_unknown_images_count_at_most() -> None:
    """By the model's own bound, or by the largest that is known."""
    alone = packed(info()).tokens_at_most
    assert packed(info("files"), attachments=(PDF,)).tokens_at_most == alone + 2000
    unknown = packed(info("vision", window=32_768, image_tokens=None), attachments=(IMAGE,))
    assert (unknown.prompt_tokens, unknown.tokens_at_most) == (None, alone + 16_384)


def test_attachments_go_to_the_last_message_of_the_user() -> None:
    """Before its text; the history has none of them."""
    history = (Message("user", "Good day."), Message("assistant", "Good day."))
    messages = packed(info("vision"), template=CHAT, history=history, attachments=(IMAGE,)).messages
    assert messages[-1] == Message("user", (IMAGE, TextPart("What is it?")))
    assert messages[1:3] == history


def test_attachments_need_a_message_of_the_user() -> None:
    """A template without one is told so."""
    with pytest.raises(TemplateError, match="no message of the user, which attachments belong to"):
        packed(info("vision"), template=FixedMessages(messages=(Message("system", "x"),)), attachments=(IMAGE,))


@pytest.mark.parametrize("exact", [True, False])
def test_what_cannot_fit_is_an_error_with_its_figures(exact: bool) -> None:
    """Also where bytes alone would do: an image has as many tokens as its formula says."""
    options = CallOptions(tools=(WEATHER,))
    with pytest.raises(PromptTooLongError, match=r"query with 1 attachment and the definitions of 1 tool take \d+"):
        packed(info("vision", "tools", window=800), options, attachments=(IMAGE,), exact=exact)


def test_tools_and_schema_count_at_most() -> None:
    """Definitions as JSON, what they add once, and the schema."""
    alone = packed(info("tools")).tokens_at_most
    tools = packed(info("tools", tool_tokens=300), CallOptions(tools=(WEATHER,)))
    assert tools.prompt_tokens is None
    assert alone + 300 + 10 < tools.tokens_at_most < alone + 300 + 60
    schema = packed(info(), CallOptions(response_schema={"type": "object", "title": "x " * 100}))
    assert schema.tokens_at_most > alone + 100


@pytest.mark.parametrize(
    ("has", "draft", "options", "said"),
    [
        ("files", {"attachments": (IMAGE,)}, CallOptions(), "takes no images"),
        ("vision", {"attachments": (PDF,)}, CallOptions(), "takes no files"),
        ("vision", {}, CallOptions(tools=(WEATHER,)), "takes no tools"),
        ("vision", {"template": CHAT, "history": CALLS}, CallOptions(), "takes no tools"),
    ],
    ids=["image", "file", "tools", "calls"],
)
def test_model_gets_only_what_it_takes(has: str, draft: dict[str, Any], options: CallOptions, said: str) -> None:
    """Whatever else it takes, the error names what is missing."""
    with pytest.raises(NotConfiguredError, match=said):
        packed(info(has), options, **draft)


def test_history_keeps_calls_and_parts() -> None:
    """A template sees their texts only, and puts them in the place of the history."""
    history = (*CALLS, Message("user", (IMAGE, TextPart("And here?"))), Message("assistant", "A cat."))
    prompt = packed(info("vision", "tools"), template=CHAT, history=history)
    assert prompt.messages[1:-1] == history
    assert prompt.history_kept == 6
    assert prompt.tokens_at_most > 765


def test_old_turns_with_images_are_dropped_first() -> None:
    """They count what their images count."""
    history = (Message("user", (IMAGE,)), Message("assistant", "A cat."), Message("user", "Ah."))
    prompt = packed(info("vision", window=600), template=CHAT, history=history)
    assert (prompt.history_kept, prompt.history_dropped) == (1, 2)


def test_there_is_one_system_message_at_the_front() -> None:
    """What the client says as system comes after what the pipeline says, and is dropped first where room is short."""
    history = (Message("system", "Speak like a pirate. " * 20), Message("user", "Hi."), Message("assistant", "Ahoy."))
    wide = packed(info(), template=CHAT, history=history).messages
    assert [message.role for message in wide] == ["system", "user", "assistant", "user"]
    assert wide[0].text.startswith("Be brief.\n\nSpeak like a pirate.")
    short = packed(info(window=190), template=CHAT, history=history)
    assert short.messages[0] == Message("system", "Be brief.")
    assert short.history_dropped == 1


def test_neighbours_of_one_role_are_joined_where_the_model_needs_it() -> None:
    """Texts with a blank line between them, parts one after the other; results of calls stay apart."""
    said = (Message("user", "One."), Message("user", "Two."), Message("user", (IMAGE,)))
    results = (Message("tool", "a", tool_call_id="1"), Message("tool", "b", tool_call_id="2"))
    template = FixedMessages(messages=(*said, *results))
    joined = packed(info("vision", "tools", joins_roles=True), template=template).messages
    assert joined == (Message("user", (TextPart("One.\n\nTwo."), IMAGE)), *results)
    assert packed(info("vision", "tools"), template=template).messages == (*said, *results)


def test_texts_alone_are_one_text() -> None:
    """Connectors that know no parts never see any."""
    template = FixedMessages(messages=(Message("user", (TextPart("One."), TextPart("Two."))),))
    assert packed(info(), template=template).messages == (Message("user", "One.\nTwo."),)


def test_result_of_no_call_is_an_error() -> None:
    """A template that writes history as it likes is told what is missing."""
    template = FixedMessages(messages=(Message("tool", "Rain."),))
    with pytest.raises(TemplateError, match="`tool_call_id`"):
        packed(info("tools"), template=template)

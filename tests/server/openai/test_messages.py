"""Messages as real clients send them: what reaches the model, and what is refused."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from nexus_core import FilePart, ImagePart, Message, TextPart
from nexus_core.contract.values import Part

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running, Start

QUESTION: Any = {"role": "user", "content": "How many days of leave?"}
BRIEF: Any = {"role": "system", "content": "brief."}
HELLO: Any = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]


async def sent(running: Running, fakes: Fakes, messages: list[Any], **more: Any) -> list[Message]:
    """Return the messages that go to the model."""
    body = {"model": "nexus/own", "messages": messages, **more}
    status, told = await running.call("POST", "/v1/chat/completions", json=body)
    assert status == 200, told
    return list(fakes.connectors["own"].prompts[0].messages)


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([{"role": "system", "content": "Be brief."}, QUESTION], id="at-the-front"),
        pytest.param([*HELLO, {"role": "system", "content": "Be brief."}, QUESTION], id="in-the-middle"),
        pytest.param([{"role": "developer", "content": "Be"}, *HELLO, BRIEF, QUESTION], id="two"),
    ],
)  # fmt: skip
async def test_one_system_message_goes_to_the_model_at_the_front(
    running: Running, fakes: Fakes, messages: list[Any]
) -> None:
    """It holds the instructions of the pipeline, and after them those of the client."""
    found = await sent(running, fakes, messages)
    assert [each.role for each in found[1:]] in (["user"], ["user", "assistant", "user"])
    assert (found[0].role, found[0].text.split()[-2:]) == ("system", ["Be", "brief."])
    assert len(found[0].text) > len("Be brief.")


async def test_what_the_client_says_as_system_is_dropped_first(running: Running, fakes: Fakes) -> None:
    """Where the window is short; the instructions of the pipeline stay."""
    found = await sent(running, fakes, [{"role": "system", "content": "brief " * 4000}, *HELLO, QUESTION])
    assert [each.role for each in found] == ["system", "user", "assistant", "user"]
    assert "brief" not in found[0].text


async def test_neighbours_of_one_role_are_joined(running: Running, fakes: Fakes) -> None:
    """Many models refuse chats in which a role does not alternate."""
    messages = [HELLO[0], HELLO[0], HELLO[1], HELLO[1], {"role": "user", "content": "So:"}, QUESTION]
    found = await sent(running, fakes, messages)
    assert [each.role for each in found] == ["system", "user", "assistant", "user"]
    assert [each.text for each in found[1:3]] == ["Hello\n\nHello", "Hi.\n\nHi."]
    assert fakes.connectors["own"].prompts[0].query == "So:\n\nHow many days of leave?"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([{"type": "text", "text": "Is it open?", "cache_control": {"type": "ephemeral"}}], id="cached"),
        pytest.param([{"type": "input_text", "text": "Is it open?"}], id="responses"),
        pytest.param([{"type": "text", "text": "Is it open?", "annotations": [], "id": "a"}], id="langchain"),
        pytest.param(["Is it open?"], id="bare"),
        pytest.param([{"type": "text", "text": "Is it"}, {"type": "text", "text": "open?"}], id="several"),
    ],
)
async def test_texts_of_users_are_read_in_each_form(running: Running, fakes: Fakes, content: Any) -> None:
    """What else stands in a part is ignored."""
    await sent(running, fakes, [{"role": "user", "content": content}])
    assert fakes.connectors["own"].prompts[0].query.split() == ["Is", "it", "open?"]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param({"content": [{"type": "refusal", "refusal": "No"}]}, "No", id="refusal"),
        pytest.param({"content": None, "refusal": "No"}, "No", id="refusal-beside"),
        pytest.param({"content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "Hello"}]}, "Hello",
                     id="thinking"),
        pytest.param({"content": [{"type": "output_text", "text": "Hello"}], "reasoning_content": "x"}, "Hello",
                     id="output-text"),
        pytest.param({"content": "Hello", "tool_calls": [], "function_call": None}, "Hello", id="no-calls"),
        pytest.param({"content": ""}, None, id="empty"),
    ],
)  # fmt: skip
async def test_answers_of_models_are_read_as_clients_send_them_back(
    running: Running, fakes: Fakes, message: dict[str, Any], text: str | None
) -> None:
    """Thoughts are left out, a refusal is what was said, and an empty message is none."""
    found = await sent(running, fakes, [HELLO[0], {"role": "assistant", **message}, QUESTION])
    assert [each.text for each in found if each.role == "assistant"] == ([] if text is None else [text])


@pytest.mark.parametrize("refusal", [[5], [None], [{"type": ["text"]}], {"a": 1}, 5], ids=str)
async def test_refusals_that_are_no_text_are_refused(running: Running, refusal: Any) -> None:
    """With the place of the message."""
    body = {"model": "nexus/own", "messages": [{"role": "assistant", "refusal": refusal}, QUESTION]}
    status, told = await running.call("POST", "/v1/chat/completions", json=body)
    assert (status, told["error"]["param"][:11]) == (400, "messages[0]")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_image", "image_url": "https://example.org/a.png"},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "a"}},
        {"type": "thinking", "thinking": "x"},
        {"type": "text"},
        {"type": ["text"], "text": "a"},
        {"text": "a"},
    ],
    ids=lambda part: str(part)[:30],
)
async def test_parts_that_are_no_text_of_a_user_are_refused(running: Running, part: Any) -> None:
    """With the place of the part."""
    content = [{"type": "text", "text": "Look:"}, part]
    body = {"model": "nexus/own", "messages": [{"role": "user", "content": content}]}
    status, told = await running.call("POST", "/v1/chat/completions", json=body)
    assert (status, told["error"]["param"]) in ((400, "messages[0].content[1]"), (400, "messages[0].content[1].type"))


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\4\0\0\0\4\0\x08\x02\0\0\0"
DATA = f"data:image/png;base64,{b64encode(PNG).decode()}"
PDF = b64encode(b"%PDF-1.7").decode()


@pytest.mark.parametrize(
    ("part", "read"),
    [
        pytest.param({"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
                     ImagePart(url="https://example.org/a.png", detail="low"), id="address"),
        pytest.param({"type": "image_url", "image_url": {"url": DATA}},
                     ImagePart(data=PNG, media_type="image/png"), id="data"),
        pytest.param({"type": "input_image", "image_url": DATA, "detail": "high"},
                     ImagePart(data=PNG, media_type="image/png", detail="high"), id="responses"),
        pytest.param({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
                     FilePart(data=b"%PDF-1.7", media_type="application/pdf", filename="a.pdf"), id="file"),
        pytest.param({"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}"},
                     FilePart(data=b"%PDF-1.7", media_type="application/pdf", filename="file.pdf"), id="input-file"),
    ],
)  # fmt: skip
async def test_images_and_files_reach_a_model_that_takes_them(
    start: Start, fakes: Fakes, part: dict[str, Any], read: Part
) -> None:
    """Of the question and of what was said before it."""
    own = fakes.connectors["own"]
    takes = frozenset({"streaming", "vision", "files"})
    own.model_info = evolve(own.model_info, window=100_000, capabilities=takes, file_tokens_at_most=1000)
    running = await start()
    before = [{"role": "user", "content": [{"type": "text", "text": "Look:"}, part]}, HELLO[1]]
    question = {"role": "user", "content": [part, {"type": "text", "text": "How many days of leave?"}]}
    found = await sent(running, fakes, [*before, question])
    assert found[-1].content[0] == read
    assert found[-3].content == (TextPart("Look:"), read)

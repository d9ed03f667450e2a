"""The window holds whatever a prompt is made of: 10,000 random ones with images, files, tools, calls and a schema."""

from __future__ import annotations

import json
from math import ceil
from random import Random
from typing import Any

import pytest

from nexus_core import (
    CallOptions,
    FilePart,
    ImagePart,
    ImageTokens,
    Item,
    Message,
    ModelInfo,
    Prompt,
    PromptTooLongError,
    Ranking,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from nexus_core.engine.packing.packer import Draft, pack
from nexus_core.toolkit.templates.template import TextTemplate
from nexus_core.toolkit.tokens.counter import token_counter

pytestmark = pytest.mark.slow

ITEMS = "{% for item in items %}[{{ item.number }}] {{ item.text }}\n{% endfor %}"
TEMPLATE = TextTemplate.parse("[system]\nBe brief.\n[history]\n[user]\n" + ITEMS + "{{ query }}", "all")
WORDS = ("bridge", "river", "leave", "Überfahrt", "字", "⛵", "12.5", "of", "the", "\n")
AT_MOST, FILE, RESERVED = 1445, 700, 60
COUNT = token_counter("o200k_base").count


def words(random: Random, most: int) -> str:
    return " ".join(random.choices(WORDS, k=random.randrange(1, most)))


def image(random: Random) -> ImagePart:
    """Return an image: its bytes with a size or without, or its address."""
    detail: Any = random.choice(("auto", "low", "high"))
    if random.random() < 0.2:
        return ImagePart(url="https://example.org/a.png", detail=detail)
    size = random.randrange(1, 4000).to_bytes(4, "big") + random.randrange(1, 4000).to_bytes(4, "big")
    data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size if random.random() < 0.8 else b"no image"
    return ImagePart(data=data, media_type="image/png", detail=detail)


def part_tokens(part: TextPart | ImagePart | FilePart) -> int:
    """Return what a service counts: for images by OpenAI's guide, the more of two where it may choose."""
    if isinstance(part, TextPart):
        return COUNT(part.text)
    if isinstance(part, FilePart):
        return FILE
    if part.detail == "low":
        return 85
    if not part.data.startswith(b"\x89PNG"):
        return AT_MOST
    width, height = int.from_bytes(part.data[16:20], "big"), int.from_bytes(part.data[20:24], "big")
    shrunk = min(1.0, 2048 / max(width, height))
    shrunk *= min(1.0, 768 / (min(width, height) * shrunk))
    return min(AT_MOST, 85 + 170 * ceil(width * shrunk / 512 - 1e-6) * ceil(height * shrunk / 512 - 1e-6))


def tokens(prompt: Prompt, options: CallOptions) -> int:
    """Return what a prompt takes, calls and definitions as compact JSON."""
    total = 3
    for message in prompt.messages:
        parts = [TextPart(message.content)] if isinstance(message.content, str) else message.content
        total += 3 + COUNT(message.role) + sum(map(part_tokens, parts))
        total += sum(COUNT(call.name) + COUNT(call.arguments) for call in message.tool_calls)
    told = [(tool.name, tool.description, tool.parameters) for tool in options.tools or ()]
    asked = [*told, options.response_schema] if options.response_schema else told
    return total + COUNT(json.dumps(asked, ensure_ascii=False, separators=(",", ":"))) if asked else total


def history(random: Random) -> tuple[Message, ...]:
    turns: list[Message] = []
    for number in range(random.randrange(4)):
        turns.append(Message("user", words(random, 30)))
        if random.random() < 0.4:
            call = ToolCall(id=f"c{number}", name="weather", arguments=json.dumps({"city": words(random, 9)}))
            turns += [
                Message("assistant", "", tool_calls=(call,)),
                Message("tool", words(random, 20), tool_call_id=call.id),
            ]
        turns.append(Message("assistant", words(random, 30)))
    return tuple(turns)


def options_of(random: Random) -> CallOptions:
    schema = {
        "type": "object",
        "properties": {word: {"type": "string", "description": words(random, 9)} for word in WORDS[:3]},
    }
    named = [
        ToolDefinition(name=f"tool_{n}", description=words(random, 12), parameters=schema)
        for n in range(random.randrange(4))
    ]
    return CallOptions(tools=tuple(named), response_schema=schema if random.random() < 0.3 else None)


@pytest.mark.parametrize("seed", range(10))
def test_window_is_never_exceeded(seed: int) -> None:
    """Counted anew by the formulas of the service: what is sent and what is kept free never take more than there is."""
    random, packed = Random(seed), 0
    tiles = ImageTokens(formula="tiles", at_most=AT_MOST, base=85, per_tile=170)
    takes = frozenset({"vision", "files", "tools", "schema"})
    for _ in range(1_000):
        info = ModelInfo(
            id="m", provider="p", window=random.randrange(100, 6000), capabilities=takes, image_tokens=tiles,
            file_tokens_at_most=FILE, encoding="o200k_base", joins_roles=random.random() < 0.3,
        )  # fmt: skip
        attachments: list[Any] = [image(random) for _ in range(random.randrange(3))]
        if random.random() < 0.2:
            attachments.append(FilePart(data=b"%PDF-", media_type="application/pdf"))
        found = tuple(Item(id=str(n), text=words(random, 80)) for n in range(random.randrange(5)))
        draft = Draft(
            template=TEMPLATE, ranking=Ranking(found), query="Why " + words(random, 9), history=history(random),
            attachments=tuple(attachments),
        )  # fmt: skip
        options = options_of(random)
        try:
            prompt = pack(
                draft, info, reserved=RESERVED, counter=lambda: token_counter("o200k_base"), options=options,
                exact=random.random() < 0.5,
            )  # fmt: skip
        except PromptTooLongError:
            continue
        packed += 1
        assert prompt.tokens_at_most + RESERVED <= info.window
        assert tokens(prompt, options) <= prompt.tokens_at_most
    assert packed > 300

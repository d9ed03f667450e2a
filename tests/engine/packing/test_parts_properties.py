"""Whatever images, files, tools, calls and schemas there are: counted again, by other code, no prompt is too long.

`NEXUS_PROMPTS=10000 pytest tests/engine/packing/test_parts_properties.py` tries as many prompts as that.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from math import ceil
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

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
from nexus_core.engine.packing.packer import Draft, PackingPolicy, pack
from nexus_core.toolkit.templates.template import TextTemplate
from nexus_core.toolkit.tokens.counter import TokenCounter, token_counter

pytestmark = pytest.mark.slow

PROMPTS = int(os.environ.get("NEXUS_PROMPTS", "150"))
FILE = 700
RESERVED = 20
TEMPLATE = TextTemplate.parse(
    "[system]\nBe brief.\n[history]\n[user]\n{% for item in items %}[{{ item.number }}] {{ item.text }}\n{% endfor %}"
    "{{ query }}",
    "sources",
)
words = st.sampled_from(["river", "town.", "naïve", "北京。", '"x": 1', "\n\n", "…", "a", "don't", "{}", "🙂", "  "])
texts = st.lists(words, max_size=40).map(" ".join)
sizes = st.tuples(st.integers(1, 6000), st.integers(1, 6000))
formulas = st.sampled_from(
    [
        ImageTokens(formula="fixed", at_most=258, base=258),
        ImageTokens(formula="tiles", at_most=1445, base=85, per_tile=170),
        ImageTokens(formula="area", at_most=1600, longest=1568),
    ]
)
images = st.builds(
    lambda size, detail: ImagePart(
        data=b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", *size), media_type="image/png", detail=detail
    ),
    sizes,
    st.sampled_from(["auto", "low", "high"]),
)
far = st.just(ImagePart(url="https://example.org/a.png")) | st.just(ImagePart(data=b"?", media_type="image/png"))
files = st.just(FilePart(data=b"%PDF-", media_type="application/pdf"))
parts = st.lists(images | far | files | texts.map(TextPart), min_size=1, max_size=3).map(tuple)
schemas = st.recursive(
    texts.map(lambda text: {"type": "string", "description": text}),
    lambda inner: st.dictionaries(words, inner, max_size=3).map(lambda each: {"type": "object", "properties": each}),
    max_leaves=6,
)
tools = st.builds(ToolDefinition, name=st.sampled_from(["a", "look_up"]), description=texts, parameters=schemas)
calls = st.builds(ToolCall, id=st.just("c1"), name=st.just("look_up"), arguments=texts)
turns = st.one_of(
    st.builds(lambda content: (Message("user", content),), texts | parts),
    st.builds(lambda text: (Message("system", text),), texts),
    st.builds(
        lambda call, text: (Message("assistant", "", tool_calls=(call,)), Message("tool", text, tool_call_id="c1")),
        calls,
        texts,
    ),
)
histories = st.lists(turns, max_size=4).map(lambda found: tuple(message for turn in found for message in turn))
options = st.builds(
    CallOptions,
    tools=st.none() | st.lists(tools, max_size=3).map(tuple),
    response_schema=st.none() | schemas,
)
items = st.lists(texts, max_size=6).map(lambda found: tuple(Item(id=str(n), text=t) for n, t in enumerate(found)))


def count(text: str) -> int:
    return token_counter("o200k_base").count(text)


def counter() -> TokenCounter:
    return token_counter("o200k_base")


def image_tokens(part: ImagePart, formula: ImageTokens) -> int:
    """Return what a service would count; of what it alone can see the worst."""
    width: float
    height: float
    width, height = struct.unpack(">II", part.data[16:24]) if len(part.data) == 24 else (6000, 6000)
    if formula.formula == "fixed" or (formula.formula == "tiles" and part.detail == "low"):
        return formula.base
    if formula.formula == "area":
        shrunk = min(1, 1568 / width, 1568 / height)
        return min(1600, ceil(width * shrunk * height * shrunk / 750))
    for limit, side in ((2048, max), (768, min)):
        if side(width, height) > limit:
            factor = limit / side(width, height)
            width, height = width * factor, height * factor
    return 85 + 170 * ceil(round(width, 3) / 512) * ceil(round(height, 3) / 512)


def message_tokens(message: Message, formula: ImageTokens) -> int:
    total = 3 + count(message.role)
    content = message.content
    for part in (TextPart(content),) if isinstance(content, str) else content:
        match part:
            case TextPart(text=text):
                total += count(text)
            case ImagePart():
                total += image_tokens(part, formula)
            case FilePart():
                total += FILE
    for call in message.tool_calls:
        function = {"name": call.name, "arguments": call.arguments}
        total += min(count(call.name) + count(call.arguments) + 12, count(json.dumps({"function": function})))
    return total


def prompt_tokens(messages: Sequence[Message], asked: CallOptions, formula: ImageTokens) -> int:
    total = 3 + sum(message_tokens(message, formula) for message in messages)
    for tool in asked.tools or ():
        function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        wire = {"type": "function", "function": function}
        total += count(json.dumps(wire, separators=(",", ":"), ensure_ascii=False))
    if asked.response_schema is not None:
        total += count(json.dumps(asked.response_schema, separators=(",", ":"), ensure_ascii=False))
    return total + (50 if asked.tools else 0)


@given(
    found=items,
    query=texts.filter(str.strip),
    history=histories,
    attachments=st.just(()) | parts,
    asked=options,
    formula=formulas,
    window=st.integers(60, 6000),
    joins=st.booleans(),
    budget=st.none() | st.integers(1, 400),
)
@settings(max_examples=PROMPTS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_prompt_with_parts_and_tools_exceeds_the_window(
    found: tuple[Item, ...],
    query: str,
    history: tuple[Message, ...],
    attachments: tuple[Any, ...],
    asked: CallOptions,
    formula: ImageTokens,
    window: int,
    joins: bool,
    budget: int | None,
) -> None:
    """It fits, is counted no lower than what is sent, and where it is called exact it is that."""
    info = ModelInfo(
        id="m", provider="p", window=window, encoding="o200k_base", joins_roles=joins, image_tokens=formula,
        file_tokens_at_most=FILE, tool_tokens=50, capabilities=frozenset({"vision", "files", "tools", "schema"}),
    )  # fmt: skip
    draft = Draft(
        template=TEMPLATE, ranking=Ranking(found), query=query, history=history, attachments=attachments,
        policy=PackingPolicy(budget=budget),
    )  # fmt: skip
    try:
        prompt = pack(draft, info, reserved=RESERVED, counter=counter, options=asked)
    except PromptTooLongError as error:
        assume(error.over > 0)
        return
    check(prompt, asked, formula, window)


def check(prompt: Prompt, asked: CallOptions, formula: ImageTokens, window: int) -> None:
    total = prompt_tokens(prompt.messages, asked, formula)
    assert total <= prompt.tokens_at_most <= window - RESERVED
    assert prompt.prompt_tokens in (None, total)
    assert [message.role for message in prompt.messages].index("system") == 0
    assert sum(message.role == "system" for message in prompt.messages) == 1

"""What stands in a message or a delta: text and reasoning, refusals and tool calls, as many services write them. Pure.

Content is a text or a list of parts (documented by Mistral); reasoning has half a dozen names, and stands in a field,
in parts of the content, or in a text that is marked as thought (Gemini).
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from nexus_core import ContentFilterError, ProtocolError

_THOUGHTS = (
    "reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_content", "thought", "thoughts",
    "reasoning_details", "thinking_blocks",
)  # fmt: skip
"""Where services put what a model thinks; those that give it two names give the same text twice."""
_THOUGHT_NAMES = frozenset(_THOUGHTS)
_WITHIN = ("text", "content", "thinking", "reasoning", "summary", "value")
"""Where the text of a part stands."""
_OF_THOUGHT = ("think", "thought", "reason")
"""What the types of parts that are reasoning begin with."""
_DEEPEST = 4


@frozen
class ContentParts:
    """What a list of parts says."""

    text: str = ""
    thought: str = ""
    refused: bool = False


def read_content(content: Any) -> ContentParts:
    """Return what content says that is no text: text parts joined, thought apart, and parts of other types left out.

    Raises ProtocolError where it is neither a text nor made of parts.
    """
    if content is None:
        return ContentParts()  # tool calls, or an answer that is all reasoning
    if isinstance(content, str):
        return ContentParts(content)
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list) or (parts and not any(isinstance(part, dict) for part in parts)):
        raise ProtocolError("the content of the answer is no text and no list of parts", code="shape")
    texts, thoughts, refused = [], [], False
    for part in parts:
        if not isinstance(part, dict):
            continue
        kind = str(part.get("type", "text")).lower()
        if kind.startswith(_OF_THOUGHT) or part.get("thought") is True:
            thoughts.append(_text_in(part))
        elif kind == "refusal":
            refused = True
        elif kind == "text" or kind.endswith("_text"):
            texts.append(_text_in(part))
    return ContentParts("".join(texts), "".join(thoughts), refused)


def read_thought(message: dict[str, Any]) -> str:
    """Return the reasoning in a message or delta: a text, an object that holds one, or a list of such parts."""
    if _THOUGHT_NAMES.isdisjoint(message):  # nearly always
        return ""
    for name in _THOUGHTS:
        found = message.get(name)
        if found and (thought := _text_in(found)):
            return thought
    return ""


def is_thought(message: dict[str, Any]) -> bool:
    """Tell whether the content itself is marked as reasoning, as Gemini does in `extra_content`."""
    extra = message.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and google.get("thought") is True


def legacy_calls(message: dict[str, Any]) -> list[Any]:
    """Return the one tool call of the older protocol."""
    call = message.get("function_call")
    return [{"index": 0, "function": call}] if call else []


def name_in(value: Any) -> str:
    """Return the name of a model, empty where it is none."""
    return value if isinstance(value, str) else ""


def filtered(*, refused: bool) -> ContentFilterError:
    """Return the error of an answer that has no text, since it was not to have any."""
    if refused:
        return ContentFilterError("the model refused to answer", code="refusal")
    return ContentFilterError("the service filtered the whole answer", code="content_filter")


def _text_in(value: Any, depth: int = 0) -> str:
    if isinstance(value, dict):
        value = next((inner for name in _WITHIN if (inner := value.get(name))), None)
        return _text_in(value, depth + 1) if depth < _DEEPEST else ""
    if isinstance(value, list) and depth < _DEEPEST:
        return "".join([_text_in(part, depth + 1) for part in value])
    return value if isinstance(value, str) else ""

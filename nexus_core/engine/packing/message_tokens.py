"""Tokens of what a request holds besides plain text: parts, calls of tools and their results, definitions, a schema.

`count` is either that of the target's encoding or the bytes of a text: every token is at least one byte, so that the
second gives a bound that needs no tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from nexus_core.contract.models import ModelInfo
from nexus_core.contract.values import CallOptions, FilePart, ImagePart, Message, TextPart
from nexus_core.toolkit.tokens.images import count_image

Count = Callable[[str], int]

UNKNOWN_IMAGE = 16_384
"""Of a model that takes images and does not say how it counts them: as many as Qwen2-VL, which takes the most."""
AROUND_CALL = 32
"""Tokens that a chat format puts around a call of a tool, or around a definition: more than any that is published."""
AROUND_RESULT = 8


def further_tokens(message: Message, info: ModelInfo, count: Count) -> int:
    """Return the tokens of a message beside those of its texts."""
    tokens = 0
    if not isinstance(message.content, str):
        texts = 0
        for part in message.content:
            if isinstance(part, TextPart):
                texts += 1
            else:
                tokens += _media_tokens(part, info)[0]
        tokens += max(0, texts - 1)  # a service may put a line break between two of them
    for call in message.tool_calls:
        tokens += AROUND_CALL + sum(map(count, (call.id, call.name, call.arguments, call.signature)))
    if message.tool_call_id:
        tokens += AROUND_RESULT + count(message.tool_call_id)
    return tokens


def texts_of(message: Message) -> Sequence[str]:
    """Return the texts of a message, each of them counted by itself."""
    content = message.content
    return (content,) if isinstance(content, str) else [part.text for part in content if isinstance(part, TextPart)]


def is_exact(message: Message, info: ModelInfo) -> bool:
    """Tell whether the tokens of a message are those that the service counts, given that those of its texts are."""
    if message.tool_calls or message.tool_call_id:
        return False
    if isinstance(message.content, str):
        return True
    media = [part for part in message.content if not isinstance(part, TextPart)]
    return len(message.content) - len(media) <= 1 and all(_media_tokens(part, info)[1] for part in media)


def count_message_tokens(message: Message, info: ModelInfo, count: Count) -> int:
    """Return the tokens of one message, the chat format's own included."""
    content = message.content
    if type(content) is str and not message.tool_calls and not message.tool_call_id:
        tokens = count(content)
    else:
        tokens = sum(map(count, texts_of(message))) + further_tokens(message, info, count)
    return tokens + count(message.role) + info.tokens_per_message


def count_option_tokens(info: ModelInfo, options: CallOptions, count: Count) -> int:
    """Return the tokens that options add to a prompt, as a bound: no service publishes how it writes them.

    Services show a definition to the model in a shorter form than JSON, if in another.
    """
    tokens = 0
    if options.tools:
        tokens += info.tool_tokens
        for tool in options.tools:
            tokens += AROUND_CALL + count(tool.name) + count(tool.description) + count(_written(tool.parameters))
    if options.response_schema is not None:
        tokens += AROUND_CALL + count(_written(options.response_schema))
    return tokens


def _media_tokens(part: ImagePart | FilePart, info: ModelInfo) -> tuple[int, bool]:
    if isinstance(part, FilePart):
        return info.file_tokens_at_most or 0, False
    if info.image_tokens is None:
        return UNKNOWN_IMAGE, False
    return count_image(part, info.image_tokens)


def _written(schema: object) -> str:
    """Return a schema as JSON with spaces, the longer of the usual forms; what is no JSON the connector refuses."""
    return json.dumps(schema, ensure_ascii=False, default=str)

"""How large an answer may be that a service was asked for, by the most tokens that its model gives. Pure.

A token of text has 4 to 5 characters, of whitespace or rules many more, and some services let a model think beyond its
limit; what is over these bounds is no answer that was asked for, and would only fill the memory.
"""

from __future__ import annotations

from functools import lru_cache

from attrs import frozen

from nexus_core.toolkit.http.line_decoder import LINE_CAP

JSON_CAP = 32 * 2**20
"""Bytes a whole answer may have at most, decoded."""
STREAM_CAP = 256 * 2**20
"""Bytes a streamed answer may have in all at most."""
UNKNOWN = 32_768
"""Tokens of a model that does not say."""
PER_TOKEN = 16
"""Characters of text, reasoning and tool calls together: three times what is usual."""
FURTHER_AFTER = 16_384
PER_FURTHER_TOKEN = 8
"""Of the tokens after so many: the longer an answer is, the nearer to the usual."""
WHOLE_FACTOR = 2
"""Bytes of a whole answer for a character of it: as JSON writes them, where one may take six."""
STREAM_PER_TOKEN = 2048
"""Bytes of a stream, where each token may be an event of its own; usual are 200 to 400."""
_LEAST = 2**18
_FRAME = 2**20


@frozen
class SizeLimits:
    """The bounds of one answer."""

    text: int
    """Characters of all that the model says."""
    line: int
    """Bytes of a line, and of an event, of a stream: it is kept until its end, and may be a whole answer."""
    stream: int
    """Bytes of a stream in all, as it came over the wire."""
    whole: int
    """Bytes of an answer that is no stream."""


@lru_cache(maxsize=256)
def sizes_for(max_output: int | None) -> SizeLimits:
    """Return the bounds for a model that answers with so many tokens at most; `None` where that is not known."""
    tokens = max_output or UNKNOWN
    further = max(0, tokens - FURTHER_AFTER)
    text = PER_TOKEN * (tokens - further) + PER_FURTHER_TOKEN * further
    return SizeLimits(
        text=max(_LEAST, text),
        line=min(2 * _FRAME, max(_FRAME, text)),
        stream=min(STREAM_CAP, _FRAME + STREAM_PER_TOKEN * tokens),
        whole=min(JSON_CAP, _FRAME + WHOLE_FACTOR * text),
    )


LARGEST_SIZES = SizeLimits(text=STREAM_CAP, line=LINE_CAP, stream=STREAM_CAP, whole=JSON_CAP)
"""For answers that hold more than what the model says, such as probabilities or images."""

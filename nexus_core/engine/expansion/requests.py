"""What a model is asked that writes queries, and what of its answer is searched for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import frozen

from nexus_core.contract.values import Completion, Message
from nexus_core.toolkit.text.segmentation import is_blank

LONGEST = 1_000
"""Characters of one query, and of the question that a model is shown."""
_LONGEST_PASSAGE = 4_000
_PHRASINGS = (
    "You write search queries. Write {count} queries that find what answers the question, each different: one with "
    "other words for the same thing, one with terms that a text about it would use and, where the answer takes several "
    "steps, one for each step. Keep names and numbers, and the language of the question. Do not answer it. Write one "
    "query on each line, without numbers, quotation marks or any other text."
)
_HYPOTHETICAL = (
    "Write a passage of three or four sentences as it would stand in a document that answers the question, in the "
    "language of the question. It is only compared with texts and nobody reads it: where you do not know a fact, write "
    "what is likely. Write the passage alone."
)
_MARKER = re.compile(r"^(?:[-*\u2022]|\(?\d{1,2}[.):])\s+")
_QUOTES = "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"


@frozen(eq=False, repr=False)
class ExpansionRequest:
    """The template of what a model is asked; it shows the question and nothing else."""

    variables: ClassVar[frozenset[str]] = frozenset({"query"})

    instructions: str

    @classmethod
    def phrasings(cls, count: int) -> ExpansionRequest:
        """Return what asks for other phrasings."""
        return cls(_PHRASINGS.format(count=count))

    @classmethod
    def hypothetical(cls) -> ExpansionRequest:
        """Return what asks for an answer that is made up."""
        return cls(_HYPOTHETICAL)

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the instructions and the question."""
        return Message("system", self.instructions), Message("user", f"Question: {variables['query']}")


def read_phrasings(question: str, completion: Completion, count: int) -> tuple[str, ...]:
    """Return the queries that a model has written, a line each, without the question itself; at most `count`.

    The last line of an answer that was cut is left out, unless it is the only one.
    """
    if completion.tool_calls or completion.finish_reason == "content_filter":
        return ()
    lines = [_query_in(line) for line in completion.text.splitlines()]
    lines = [line for line in lines if line]
    if completion.finish_reason == "length" and len(lines) > 1:
        lines.pop()
    by_words = {line.casefold(): line for line in reversed(lines) if len(line) <= LONGEST}
    by_words.pop(question.casefold(), None)
    return tuple(reversed(by_words.values()))[:count]


def read_passage(completion: Completion) -> tuple[str, ...]:
    """Return the passage that a model has made up, on one line; one that was cut will do."""
    if completion.tool_calls or completion.finish_reason == "content_filter" or is_blank(completion.text):
        return ()
    return (" ".join(completion.text.split())[:_LONGEST_PASSAGE],)


def _query_in(line: str) -> str:
    """Return the query on a line, without what stands before it in a list and around it."""
    text = _MARKER.sub("", " ".join(line.split()))
    if text[:1] in _QUOTES and text[-1:] in _QUOTES:
        text = text.strip(_QUOTES).strip()
    return "" if is_blank(text) else text

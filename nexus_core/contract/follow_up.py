"""A query that goes on with a conversation: a text whose words do not all count the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

EARLIER_WEIGHT = 0.5
"""What a word of the question before counts, against 1 for one of the question itself; half of it for the one before.

Measured on tests/bench/followups.json, see docs/explanation/follow-ups.md.
"""
EARLIER_QUESTIONS = 3
"""So many questions of a conversation count, the newest."""
_LONGEST = 1_000
"""Characters of an earlier question that count."""


class FollowUp(str):
    """A question, and the questions of its conversation before it, which count less.

    It is the text of all of them, the question first, for sources and rankers that know no weights; those that add up
    words go by `parts`.
    """

    parts: tuple[tuple[str, float], ...]
    """Each question with its weight, the question itself first."""

    @classmethod
    def after(cls, question: str, earlier: Sequence[str]) -> Self:
        """Return a question with those before it, oldest first."""
        asked = [text.strip()[:_LONGEST] for text in earlier if text.strip()][-EARLIER_QUESTIONS:]
        texts = [question, *reversed(asked)]
        made = cls("\n".join(texts))
        made.parts = tuple((text, EARLIER_WEIGHT**place) for place, text in enumerate(texts))
        return made


def parts_of(query: str) -> tuple[tuple[str, float], ...]:
    """Return the texts that a query is made of, each with its weight: a plain one is all of its own, with weight 1."""
    return query.parts if isinstance(query, FollowUp) else ((query, 1.0),)

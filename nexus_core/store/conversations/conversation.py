"""A conversation and its turns, as values."""

from __future__ import annotations

from math import inf
from typing import Literal

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Value

TITLE_CHARACTERS = 200
"""Characters of a conversation's title."""
COMMENT_CHARACTERS = 2_000
"""Characters of what is said of an answer."""
Rating = Literal["up", "down"]
"""What its owner thinks of an answer."""


@frozen(kw_only=True, eq=False, repr=False)
class Conversation(Value):
    """What is known of a conversation beside its turns; times are seconds since the epoch."""

    key: int
    owner: str
    """Whose it is: of those who name nobody `""`."""
    id: str
    """Unique among those of its owner."""
    created: float
    changed: float
    """When its last turn was kept."""
    ttl_s: float | None
    """How long it lives after its last turn; `None` is for ever."""
    expires: float | None
    turns: int
    title: str
    """What its owner calls it, else how its first question begins; nothing before the first turn."""
    is_renamed: bool = False
    """Whether its owner has given the title."""

    @property
    def place(self) -> tuple[float, int]:
        """Where it stands in a list: the next page comes after it."""
        return self.changed, self.key


@frozen(kw_only=True, eq=False, repr=False)
class CitedPassage(Value):
    """What an answer cites by a number, as it stood in the prompt."""

    number: int
    id: str
    """Of its item."""
    title: str
    source: str
    place: str
    """Where in its source, as `page 3`; empty where nobody knows."""
    relevance: float
    """By the last ranker, to two digits."""
    whole: bool
    """Whether the whole item stood in the prompt."""
    text: str
    """Its first 2,000 characters."""


@frozen(kw_only=True, eq=False, repr=False)
class Turn(Value):
    """A question with its whole answer."""

    number: int
    """From 1, without gaps, in the order in which the runs came to their end."""
    run_id: str
    time: float
    """When it was kept, in seconds since the epoch."""
    query: str
    """As the user asked it."""
    answer: str
    model: str
    """The name in the pipeline of the model that answered."""
    rating: Rating | None = None
    comment: str | None = None
    """Why it is rated so."""
    context: str | None = None
    """The context that was searched; `None` where that were several, or none of the store."""
    passages: tuple[CitedPassage, ...] = ()
    """Those that the answer cites, 20 at most, as they were then."""
    files: tuple[str, ...] = ()
    """The names of those that the question was about; what was in them is not kept."""
    version: int = 1
    """Which of its versions it is, from 1: each time that it was asked again made one."""
    versions: int = 1
    """How many there are."""


def checked_ttl(seconds: float | None) -> float | None:
    """Return how many seconds something lives, `None` for ever; UsageError where that is no time."""
    if seconds is not None and not 0 < seconds < inf:
        raise UsageError(f"a time to live of {seconds} s is none: give seconds above 0, or None for ever")
    return None if seconds is None else float(seconds)

"""Which turns of a conversation fit: the newest, whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nexus_core.contract.values import Message


def turns(history: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Return the history as turns: a user's message with all that follows up to the next one."""
    found: list[list[Message]] = []
    for message in history:
        if message.role == "user" or not found:
            found.append([])
        found[-1].append(message)
    return [tuple(turn) for turn in found]


def newest(history: Sequence[Message], room: int, cost: Callable[[Message], int]) -> tuple[Message, ...]:
    """Return the newest whole turns that cost at most `room` together."""
    kept: list[Message] = []
    for turn in reversed(turns(history)):
        room -= sum(map(cost, turn))
        if room < 0:
            break
        kept[:0] = turn
    return tuple(kept)


def without_oldest(history: Sequence[Message]) -> tuple[Message, ...]:
    """Return the history without its oldest turn."""
    return tuple(message for turn in turns(history)[1:] for message in turn)

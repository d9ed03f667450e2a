"""The state of a run between two steps."""

from __future__ import annotations

from typing import Any

from attrs import evolve, fields

from nexus_core import Item, Ranking
from nexus_core.engine.state import State


def test_other_items_leave_all_else_as_it_was() -> None:
    """Field by field, those too that are added later."""
    marks: dict[str, Any] = {field.name: object() for field in fields(State)}
    state, ranking = State(**marks), Ranking((Item(id="a", text="b"),))
    after, expected = state.with_ranking(ranking, "s"), evolve(state, ranking=ranking, searched="s")
    assert all(getattr(after, field.name) is getattr(expected, field.name) for field in fields(State))

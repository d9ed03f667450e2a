"""A prompt before it is packed, and the policy it is packed by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from nexus_core.contract.protocols import Template
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import Message, Part


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class PackingPolicy:
    """How a draft is packed: the options of a prompt step."""

    budget: int | None = None
    """Most tokens of context, headers and separators included."""
    pin: tuple[str, ...] = ()
    """Ids or sources of items, or globs of them: always in, whole."""
    quota: Mapping[str, int] = field(factory=dict)
    """Most tokens of the items whose source matches a glob."""
    unit: Literal["passage", "item"] = "passage"
    overflow: Literal["cut", "skip", "stop"] = "cut"
    """What becomes of an item that does not fit, where the unit is the item."""
    order: Literal["rank", "best_last", "both_ends", "source"] = "rank"
    passage_tokens: int | None = None
    """About the most tokens of a passage; by default 64, and 128 where there is room for 2,048 and more."""
    near_duplicates: Literal["drop", "keep"] = "drop"
    history_share: float = 0.5
    """The history's largest share of what instructions and query leave; what the items do not need comes on top."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Draft:
    """Template, candidates and variables: packed for each target that is tried."""

    template: Template
    template_name: str = ""
    """As the pipeline names it, for errors."""
    ranking: Ranking
    query: str
    searched: str = ""
    """What passages are weighed by, where that is not the query."""
    history: tuple[Message, ...] = ()
    continuation: tuple[Message, ...] = ()
    """Follows what the template makes: calls of tools that the model asked for, and their results."""
    attachments: tuple[Part, ...] = ()
    """Images and files that the query is about: they go into the last message of the user."""
    variables: Mapping[str, Any] = field(factory=dict)
    """`inputs`, `vars` and the declared ones."""
    policy: PackingPolicy = PackingPolicy()

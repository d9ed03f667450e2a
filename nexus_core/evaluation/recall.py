"""Answer recall: whether what answers a query stands in a prompt, in text that was taken from the right items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from nexus_core.contract.prompts import PackedItem
from nexus_core.evaluation.collection import Alternatives, JudgedCollection, Query

Needed = Literal["all", "any"]
"""Of the items that `evidence` names: all of them, or one where each answers the query on its own."""


def holds_answer(
    items: Sequence[PackedItem], query: Query, collection: JudgedCollection, needed: Needed = "all"
) -> bool | None:
    """Tell whether packed items hold what answers a query; `None` where it is not known what that is.

    By its evidence where it has any: every sentence of one of the alternatives. Else by its answers: one of them, as it
    is written, in the text of a relevant item.
    """
    if not query.is_answerable:
        return None
    packed = {entry.item.id: entry for entry in items}
    if not query.evidence:
        texts = [packed[item].text for item in collection.relevant[query.id] if item in packed]
        return any(answer in text for text in texts for answer in query.answers)
    found = (
        item in packed and _stands(packed[item], alternatives, collection.ends)
        for item, alternatives in query.evidence.items()
    )
    return any(found) if needed == "any" else all(found)


def _stands(packed: PackedItem, alternatives: Alternatives, ends: Mapping[str, Sequence[int]]) -> bool:
    places = [0, *ends[packed.item.id]]
    whole = packed.item.text
    return any(
        all(whole[places[number] : places[number + 1]].strip() in packed.text for number in chosen)
        for chosen in alternatives
    )

"""The passages that an answer cites, kept with its turn: what stands there later may be another text, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from nexus_core.contract.prompts import PackedItem
from nexus_core.store.conversations.conversation import CitedPassage
from nexus_core.toolkit.documents.citation_place import place_of

MOST_PASSAGES = 20
"""Of one answer."""
PASSAGE_CHARACTERS = 2_000
"""Of one passage: conversations are read by the hundred turns."""
_DIGITS = 2
"""Of scores: finer ones tell of items that may not be seen."""
_CITATION = re.compile(r"\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")
"""`[1]` or `[1, 3]`."""


def passages_json(answer: str, contexts: Sequence[str], items: Sequence[PackedItem]) -> str | None:
    """Return what an answer cites of the items of its prompt, as it is kept; `None` where it cites nothing."""
    cited = {int(number) for told in _CITATION.findall(answer) for number in re.findall(r"\d+", told)}
    found = [packed for packed in items if packed.number in cited][:MOST_PASSAGES]
    if not found:
        return None
    context = contexts[0] if len(contexts) == 1 else None
    return json.dumps({"context": context, "passages": [_packed_json(packed) for packed in found]})


def read_passages(told: str | None) -> tuple[str | None, tuple[CitedPassage, ...]]:
    """Return the context that was searched and the passages that were cited, from how they are kept."""
    if told is None:
        return None, ()
    kept = json.loads(told)
    return kept["context"], tuple(CitedPassage(**each) for each in kept["passages"])


def _packed_json(packed: PackedItem) -> dict[str, object]:
    return {
        "number": packed.number,
        "id": packed.item.id,
        "title": packed.item.title,
        "source": packed.item.source,
        "place": place_of(packed.item, packed.text),
        "relevance": round(packed.score, _DIGITS),
        "whole": packed.whole,
        "text": packed.text[:PASSAGE_CHARACTERS],
    }

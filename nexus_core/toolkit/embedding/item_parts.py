"""Parts of items as they are embedded: a few sentences under the item's title, and the form in which vectors are kept.

Rankers and stores embed the same parts under the same key, so that what one has worked out serves the other.
"""

from __future__ import annotations

from nexus_core.contract.features import FeatureKey, vector_key
from nexus_core.contract.values import Item
from nexus_core.toolkit.text.segmentation import passages

PART_TOKENS = 96
"""About how many tokens of an item make one vector, in whole sentences."""
KEPT_NUMBERS = "<f2"
"""The numbers of a kept vector: little-endian halves."""
_LONGEST_TITLE = 300
"""Characters: it stands in front of every part."""


def item_parts(item: Item, tokens: int = PART_TOKENS, prefix: str = "") -> list[str]:
    """Return the parts of an item, each of a few sentences under its title; none where there is no text at all."""
    title = item.title[:_LONGEST_TITLE].strip()
    cuts = [item.text[part[0][0] : part[-1][1]] for part in passages(item.text, item.kind, tokens)]
    texts = [f"{title}\n{text}" if title else text for text in cuts or [""]]
    return [prefix + text for text in texts if text.strip()]


def item_vectors_key(embedding_id: str, tokens: int = PART_TOKENS, prefix: str = "") -> FeatureKey[bytes]:
    """Return what the vectors of an item's parts are kept under."""
    return vector_key(f"{embedding_id}/{tokens}{f'/{prefix}' if prefix else ''}")

"""What is worked out of an item before it is written: its stems for the index, its passages and their tokens. Pure."""

from __future__ import annotations

from itertools import pairwise

from attrs import frozen

from nexus_core.contract.values import Item
from nexus_core.store.figures import figures_of
from nexus_core.store.values import checked_item, digest_of
from nexus_core.toolkit.tokens import token_counter
from nexus_core.toolkit.words import pieces, stems

TITLE_COUNTS = 2
"""How often the words of a title are counted, as in the ranker `bm25`."""
PAIR = "\x1f"
"""Stands between the two stems of a pair, and in no stem."""


@frozen(kw_only=True, eq=False, repr=False)
class Prepared:
    """An item with all that is kept of it."""

    item: Item
    metadata: str
    digest: bytes
    words: str
    """Its stems, a space between two, for the index."""
    pairs: str
    """Its pairs of neighbouring stems, as the stems."""
    figures: tuple[tuple[int, bytes], ...]


@frozen
class Preparation:
    """How the items of one context are prepared."""

    language: str
    encoding: str

    def __call__(self, item: Item) -> Prepared:
        """Return the item with its figures; raises UsageError for what cannot be kept exactly."""
        metadata = checked_item(item)
        words, pairs = index_terms(item, self.language)
        return Prepared(
            item=item,
            metadata=metadata,
            digest=digest_of(item, metadata),
            words=words,
            pairs=pairs,
            figures=tuple(figures_of(item, self.encoding, token_counter(self.encoding).count)),
        )

    def all(self, items: list[Item]) -> list[Prepared]:
        """Return several items with their figures."""
        return [self(item) for item in items]


def index_terms(item: Item, language: str) -> tuple[str, str]:
    """Return what an index holds of an item: its stems, and the pairs of neighbours."""
    title, text = stems_of(item.title, language), stems_of(item.text, language)
    return " ".join(title * TITLE_COUNTS + text), " ".join(pairs_of(title) * TITLE_COUNTS + pairs_of(text))


def stems_of(text: str, language: str) -> list[str]:
    """Return the stems of a text in order."""
    return [stem for piece in pieces(text) for stem in stems(piece, language)]


def pairs_of(found: list[str]) -> list[str]:
    """Return the pairs of neighbouring stems."""
    return [f"{one}{PAIR}{other}" for one, other in pairwise(found)]

"""What is worked out of an item before it is written: its stems for the index, its passages and their tokens. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise

from attrs import frozen

from nexus_core.contract.values import Item
from nexus_core.store.items.passage_codec import ANY_SIZE, SIZES, figures_of, packed
from nexus_core.store.items.piece_cache import PieceCache
from nexus_core.store.records import checked_item, digest_of
from nexus_core.toolkit.text.bm25 import TITLE_COUNTS
from nexus_core.toolkit.text.passages import Passages
from nexus_core.toolkit.text.segmentation import Span, in_passages, sentences


@frozen(kw_only=True, eq=False, repr=False)
class PreparedItem:
    """An item with all that is kept of it."""

    item: Item
    metadata: str
    digest: bytes
    words: str
    """Its stems, a space after each, for the index."""
    figures: tuple[tuple[int, bytes], ...]


@frozen
class ItemPreparer:
    """How the items of one context are prepared."""

    language: str
    encoding: str

    def __call__(self, item: Item) -> PreparedItem:
        """Return the item with its figures; raises UsageError for what cannot be kept exactly."""
        metadata = checked_item(item)
        known = _vocabulary(self.language, self.encoding)
        return PreparedItem(
            item=item,
            metadata=metadata,
            digest=digest_of(item, metadata),
            words=index_terms(item, self.language, self.encoding),
            figures=tuple(_figures(item, known)),
        )

    def all(self, items: Sequence[Item]) -> list[PreparedItem]:
        """Return several items with their figures."""
        return [self(item) for item in items]


def index_terms(item: Item, language: str, encoding: str) -> str:
    """Return what an index holds of an item: its stems, a space after each."""
    known = _vocabulary(language, encoding)
    return _words(item.title, known) * TITLE_COUNTS + _words(item.text, known)


@lru_cache(maxsize=2)
def _vocabulary(language: str, encoding: str) -> PieceCache:
    return PieceCache(language, encoding)


def _words(text: str, known: PieceCache) -> str:
    return "".join([known[piece][0] for piece in text.split()])


def _figures(item: Item, known: PieceCache) -> list[tuple[int, bytes]]:
    """Return (size, bytes) as `figures_of` does, with what is known of each piece of the text."""
    text = item.text
    title = known.tokens_of(f" {item.title}", item.title.split()) if item.title else 0
    cuts: list[tuple[int, bytes]] = []
    spans: list[Span] = []
    read: tuple[list[bytes], list[int]] | None = None
    found = sentences(text, item.kind)
    for size in SIZES:
        grouped = in_passages(text, found, size)
        before, spans = spans, [*chain.from_iterable(grouped)]
        if read is None or spans != before:  # where long sentences are cut depends on the size
            read = _sentences(text, spans, known)
        if read is None:
            alone = Item(id="", text=text, title=item.title, kind=item.kind)
            return figures_of(alone, known.encoding, known.count)
        made = packed(_passages(text, grouped, spans, *read, title))
        if not cuts and len(grouped) <= 1:
            return [(ANY_SIZE, made)]
        cuts.append((size, made))
    return cuts


def _sentences(text: str, spans: Sequence[Span], known: PieceCache) -> tuple[list[bytes], list[int]] | None:
    """Return the codes of each sentence, and its tokens with the white space before it.

    `None` where two sentences have nothing between them: a word may go on from one to the next.
    """
    coded: list[bytes] = []
    tokens: list[int] = []
    place = spans[0][0] if spans else 0
    for start, end in spans:
        if start == place and tokens:
            return None
        whole = text[place:end]
        found = whole.split()
        tokens.append(known.tokens_of(whole, found))
        coded.append(b"".join([known[piece][1] for piece in found]))
        place = end
    return coded, tokens


def _passages(
    text: str, grouped: Sequence[Sequence[Span]], spans: Sequence[Span], coded: Sequence[bytes],
    tokens: list[int], title: int,
) -> Passages:  # fmt: skip
    firsts = [*accumulate(map(len, grouped), initial=0)]
    breaks = 1
    for number in range(1, len(spans)):
        if text[spans[number - 1][1]] != " ":
            breaks |= 1 << number
    return Passages(
        bounds=array("I", chain.from_iterable(spans)),
        firsts=array("I", firsts),
        tokens=tokens,
        codes=b"".join(coded),
        lengths=array("I", [sum(map(len, coded[a:b])) // 4 for a, b in pairwise(firsts)]).tobytes(),
        breaks=breaks,
        title=title,
    )

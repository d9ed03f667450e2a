"""What is worked out of an item before it is written: its stems for the index, its passages and their tokens. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain

from attrs import field, frozen

from nexus_core.contract.values import Item
from nexus_core.store.items.passage_codec import packed
from nexus_core.store.items.vectors import own_vectors
from nexus_core.store.records import checked_item, digest_of
from nexus_core.toolkit.text.bm25 import CODE_SIZE, TITLE_COUNTS, code_of
from nexus_core.toolkit.text.languages import AUTO, language_of
from nexus_core.toolkit.text.segmentation import Span
from nexus_core.toolkit.text.sentence_figures import SentenceFigures, breaks_of, parts_and_groups
from nexus_core.toolkit.text.stemming import PieceTable, cased, stems
from nexus_core.toolkit.tokens.counter import token_counter

Piece = tuple[str, bytes]
"""A piece of text between white space: its stems with a space after each, for the index, and their codes."""


@frozen(kw_only=True, eq=False, repr=False)
class PreparedItem:
    """An item with all that is kept of it."""

    item: Item
    metadata: str
    digest: bytes
    words: str
    """Its stems, a space after each, for the index."""
    figures: bytes
    """Its sentences, with their stems and tokens, as bytes."""
    language: str = ""
    """That of its text."""
    vectors: Mapping[str, bytes] = field(factory=dict)
    """Those that came with it, by model."""


@frozen
class ItemPreparer:
    """How the items of one context are prepared."""

    language: str
    """Of all items, or `auto`: each has its own."""
    encoding: str

    def __call__(self, item: Item, document_language: str = "") -> PreparedItem:
        """Return the item with its figures; raises UsageError for what cannot be kept exactly.

        With `auto`, an item has the language of its document, unless it is in another script.
        """
        metadata = checked_item(item)
        language = language_of(item, document_language) if self.language == AUTO else self.language
        figures, words = analyse(item, language, self.encoding)
        return PreparedItem(
            item=item,
            metadata=metadata,
            digest=digest_of(item, metadata),
            words=words,
            figures=packed(figures),
            language=language,
            vectors=own_vectors(item),
        )

    def all(self, items: Sequence[Item]) -> list[PreparedItem]:
        """Return several items with their figures."""
        return [self(item) for item in items]


def index_terms(item: Item, language: str, encoding: str) -> str:
    """Return what an index holds of an item: its stems, a space after each."""
    known = _vocabulary(language, encoding)
    return _words(item.title, known) * TITLE_COUNTS + _words(item.text, known)


def analyse(item: Item, language: str, encoding: str) -> tuple[SentenceFigures, str]:
    """Return the figures of an item's sentences, and its stems for the index: each word is looked at once."""
    known = _vocabulary(language, encoding)
    text, title = item.text, item.title
    spans, joined, groups = parts_and_groups(text, item.kind)
    coded, words, tokens = _sentences(text, spans, known)
    figures = SentenceFigures(
        bounds=array("I", chain.from_iterable(spans)),
        tokens=tokens,
        stems=[len(each) // CODE_SIZE for each in coded],
        codes=b"".join(coded),
        breaks=breaks_of(text, spans),
        joined=joined,
        groups=groups,
        title=known.count(f" {title}") if title else 0,
        language=language,
    )
    return figures, _words(title, known) * TITLE_COUNTS + words


class PieceCache(PieceTable[Piece]):
    """The pieces met so far, for one language, and the counter of one encoding: about 50 MB, while items are added.

    Pieces repeat: an item is prepared by a look-up for each of them.
    """

    def __init__(self, language: str, encoding: str) -> None:
        super().__init__(self._piece, self._joined)
        self.language = language
        self.count: Callable[[str], int] = token_counter(encoding).count

    def _piece(self, piece: str) -> Piece:
        found = stems(piece, self.language)
        return "".join([f"{stem} " for stem in found]), b"".join(map(code_of, found))

    def _joined(self, piece: str, parts: Sequence[Piece]) -> Piece:
        return "".join([part[0] for part in parts]), b"".join([part[1] for part in parts])


@lru_cache(maxsize=4)
def _vocabulary(language: str, encoding: str) -> PieceCache:
    return PieceCache(language, encoding)


def _words(text: str, known: PieceCache) -> str:
    return "".join([known[piece][0] for piece in cased(text).split()])


def _sentences(text: str, spans: Sequence[Span], known: PieceCache) -> tuple[list[bytes], str, list[int]]:
    """Return the codes of each sentence, the stems of all, and the tokens of each with the white space before it."""
    coded: list[bytes] = []
    words: list[str] = []
    tokens: list[int] = []
    place, are_apart = spans[0][0] if spans else 0, True
    compared = cased(text)
    for start, end in spans:
        if start == place and tokens:
            are_apart = False
        pieces = [known[piece] for piece in compared[place:end].split()]
        tokens.append(known.count(text[place:end]))
        coded.append(b"".join([piece[1] for piece in pieces]))
        words += [piece[0] for piece in pieces]
        place = end
    # Where two sentences have nothing between them, a word may go on from one to the next.
    return coded, "".join(words) if are_apart else _words(text, known), tokens

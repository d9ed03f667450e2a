"""What is worked out of an item before it is written is what it would be if each part were worked out alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import Item
from nexus_core.store.items.passage_codec import codes_in, give, unpacked
from nexus_core.store.items.prepare import ItemPreparer, PieceCache, index_terms
from nexus_core.toolkit.text.bm25 import terms
from nexus_core.toolkit.text.passages import count_title, counted, key_of, passages_of
from nexus_core.toolkit.text.sentence_figures import SIZES
from nexus_core.toolkit.tokens.counter import token_counter

WORDS = ["ferry", "The", "3.5", "e.g.", "HTTPServer", "snake_case", "ö", "字。", "x" * 70, "it's", "-", "U.S.", "<b>"]
SPACES = [" ", " ", " ", "  ", "\n", "\n\n", "\t", "\u2028", "\xa0", "\x1f", ". ", "! ", ""]
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)), max_size=120).map(
    lambda parts: "".join(word + space for word, space in parts)
)


def passages(item: Item, size: int, encoding: str) -> tuple[object, ...]:
    """Return all that the packer asks of an item's passages, each sentence counted."""
    cut = passages_of(item, key_of(size, encoding))
    count = token_counter(encoding).count
    for k in range(len(cut.tokens)):
        counted(item, cut, k, k + 1, count)
    count_title(item, cut, count)
    return cut.bounds, cut.firsts, cut.tokens, cut.codes, cut.lengths, cut.breaks, cut.title


def assert_kept_is_worked_out(item: Item, encoding: str, language: str = "auto") -> None:
    """Hold what is read back of an item against what is worked out of it alone."""
    prepared = ItemPreparer(language, encoding)(item)
    kept = Item(id="", text=item.text, title=item.title, kind=item.kind)
    give(kept, encoding, prepared.figures, prepared.language)
    for size in SIZES:
        assert passages(kept, size, encoding) == passages(item, size, encoding)
    assert codes_in(prepared.figures) == passages(item, SIZES[0], encoding)[3]


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(text=TEXTS, title=TEXTS, kind=st.sampled_from(["text", "markdown", "code"]))
def test_figures_are_those_of_the_packer(text: str, title: str, kind: str) -> None:
    """Counts that are added up from pieces are exact, and stems and passages the same."""
    item = Item(id="1", text=text, title=title, kind=kind)
    assert_kept_is_worked_out(item, "o200k_base")
    prepared = ItemPreparer("english", "o200k_base")(item)
    assert prepared.words.split() == terms(title, "english") * 2 + terms(text, "english")
    assert prepared.words == index_terms(item, "english", "o200k_base")


@pytest.mark.parametrize("encoding", ["cl100k_base", "approximate"])
def test_figures_are_right_in_other_encodings(encoding: str) -> None:
    """Estimates do not add up, and are made of whole sentences."""
    item = Item(
        id="1", text="The ferry leaves at nine. It returns,  at noon.\nNo ferry on Sundays. " * 9, title="Ferries"
    )
    assert_kept_is_worked_out(item, encoding)


@pytest.mark.parametrize("words", [20, 90, 130, 200, 900], ids=str)
def test_long_sentences_have_the_same_passages_in_a_store(words: int) -> None:
    """What is too long for the smaller size is cut for it, and is whole again where the larger one takes it so."""
    text = "It begins. " + ", ".join(f"clause{number} of it" for number in range(words)) + ". It ends. " * 30
    assert_kept_is_worked_out(Item(id="1", text=text), "o200k_base")


@pytest.mark.parametrize("white", [0, 8, 300, 2000], ids=str)
@pytest.mark.parametrize("words", [5, 60, 100, 300], ids=str)
def test_long_lines_of_code_have_the_same_passages_in_a_store(words: int, white: int) -> None:
    """However far they are indented: parts have no white space at their ends, lines do."""
    line = " " * white + " ".join(f"value{number}," for number in range(words))
    assert_kept_is_worked_out(Item(id="1", text=f"def run():\n{line}\n{line}\nrun()\n", kind="code"), "o200k_base")


@pytest.mark.parametrize("at", [0, 1, 2, 9, -1], ids=str)
def test_figures_that_are_damaged_are_not_believed(at: int) -> None:
    """Of another version, or with a bit that is another: they are worked out anew."""
    kept = ItemPreparer("english", "o200k_base")(Item(id="1", text="The ferry leaves at nine. " * 20)).figures
    damaged = bytearray(kept)
    damaged[at] ^= 1
    assert unpacked(kept) is not None
    assert (unpacked(bytes(damaged)), codes_in(bytes(damaged))) == (None, None)


def test_an_item_is_left_as_it_was() -> None:
    """Nothing stays with the item of whoever adds it."""
    item = Item(id="1", text="The ferry leaves at nine.")
    ItemPreparer("english", "o200k_base")(item)
    assert not item.features


def test_a_vocabulary_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts full of numbers do not fill the memory."""
    monkeypatch.setattr("nexus_core.toolkit.text.stemming.PIECES_KEPT", 10)
    known = PieceCache("english", "o200k_base")
    for number in range(100):
        assert known[f"{number}.5"][0] == f"{number}.5 "
    assert known["y" * 500][0]
    assert len(known) <= 11

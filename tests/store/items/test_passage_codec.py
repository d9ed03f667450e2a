"""Figures that a store has kept: read in part, in full, and by another process."""

from __future__ import annotations

import pickle

import pytest
from attrs import asdict

from nexus_core import Item
from nexus_core.store.items.passage_codec import StoredFigures, codes_in, packed, unpacked
from nexus_core.store.items.prepare import analyse


def _analysed(sentences: int) -> tuple[bytes, dict[str, object]]:
    text = " ".join(f"The ferry number {n} leaves at noon." for n in range(sentences))
    figures, _ = analyse(Item(id="1", text=text, title="Ferries"), "english", "o200k_base")
    return packed(figures), asdict(figures)


@pytest.mark.parametrize("sentences", [0, 1, 7, 8, 254, 255, 256, 700])
def test_figures_are_the_same_whatever_is_looked_at_first(sentences: int) -> None:
    """The stems, which come first, are found without the numbers before them, however many these are."""
    data, expected = _analysed(sentences)
    found = unpacked(data)
    assert found is not None
    assert found.codes == codes_in(data) == expected["codes"]
    assert {name: getattr(found, name) for name in reversed(expected)} == expected


def test_figures_are_unpacked_when_they_are_looked_at() -> None:
    """Of an item that is found and not packed nothing but its stems is."""
    data, expected = _analysed(3)
    found = unpacked(data)
    assert isinstance(found, StoredFigures)
    assert found.waits
    assert found.tokens is found.tokens == expected["tokens"]
    assert not found.waits


def test_figures_reach_another_process_whole() -> None:
    """Those that were not looked at, too."""
    data, expected = _analysed(9)
    assert asdict(pickle.loads(pickle.dumps(unpacked(data)))) == expected


def test_figures_have_no_other_names() -> None:
    """A name that is not theirs is an error, as with any value."""
    found = unpacked(_analysed(2)[0])
    with pytest.raises(AttributeError, match="colour"):
        found.colour  # type: ignore[union-attr]  # noqa: B018

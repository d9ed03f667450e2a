"""Citations: which sentence of an answer cites which passages."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from nexus_core.evaluation.answers.citations import cited_sentences, without_citations


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param("It is so [1].", [("It is so.", (1,))], id="inside"),
        pytest.param("It is so. [1] It is not. [2][1]", [("It is so.", (1,)), ("It is not.", (2, 1))], id="after-stop"),
        pytest.param("It is so.[1] It is not.", [("It is so.", (1,)), ("It is not.", ())], id="no-space"),
        pytest.param("A is so [1]. [2] says B.", [("A is so.", (1,)), ("says B.", (2,))], id="before"),
        pytest.param("[3] says it.", [("says it.", (3,))], id="first"),
        pytest.param("It is so [2, 4] and [1-3].", [("It is so and.", (2, 4, 1, 3))], id="lists-and-ranges"),
        pytest.param("It was so [1900-1990].", [("It was so.", (1900, 1990))], id="no-range"),
        pytest.param("1. One [1]\n2. Two", [("One", (1,)), ("Two", ())], id="list"),
        pytest.param("Run:\n\n```\na\nb\n```\n[2]", [("Run:", ()), ("a", (2,)), ("b", (2,))], id="code"),
        pytest.param("So [1].\n[2]", [("So.", (1, 2))], id="alone-after-cited"),
        pytest.param("So [12345] [00001].", [("So.", (12_345, 10_000))], id="of-no-passage"),
        pytest.param("See [1](http://a.example/) [x] a[1.5].", None, id="none"),
        pytest.param("", [], id="empty"),
    ],
)
def test_citations_belong_to_sentences(answer: str, expected: list[tuple[str, tuple[int, ...]]] | None) -> None:
    """In them, behind them, or on a line below a block."""
    found = [(sentence.text, sentence.cited) for sentence in cited_sentences(answer)]
    assert found == expected if expected is not None else all(not cited for _, cited in found)


@pytest.mark.parametrize("piece", ["[", "[1,", "[1", "1", " ", "[ ", " [1]", "[1]("])
def test_long_texts_are_read_in_linear_time(piece: str) -> None:
    """A number of 100,000 digits, or as many brackets, is nothing to wait for."""
    answer = f"So [{piece * 100_000}"
    assert without_citations(f"{answer} [1].").endswith(".")
    assert len(cited_sentences("[" + "9" * 100_000 + "] it is.")) == 1


@given(st.text(alphabet="ab.!?[]()123,-–;\n \t|`#。", max_size=80))
def test_any_text_is_read(text: str) -> None:
    """Without an error, and no citation is left in what is compared."""
    assert all(sentence.text.strip() for sentence in cited_sentences(text))
    assert len(without_citations(text)) <= len(text)

"""Think blocks: what is reasoning and what is answer, whole and however a stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core.toolkit.text.thinking import ThinkingStream, split_thinking

BLOCKS = {
    "think": ("<think>\nCheck the tides.\n</think>\n\nYes.", "Check the tides.", "Yes."),
    "thinking": ("<thinking>a</thinking>Yes.", "a", "Yes."),
    "thought": (" \n<Thought>a</THOUGHT> Yes.", "a", "Yes."),
    "other tag inside": ("<think>a</thought>b</think>Yes.", "a</thought>b", "Yes."),
    "empty": ("<think>\n\n</think>\n\nYes.", "", "Yes."),
    "never closed": ("<think>Check the <b>tides", "Check the <b>tides", ""),
    "cut in the tag": ("<think>Check</thi", "Check</thi", ""),
    "nothing after it": ("<think>a</think>\n", "a", ""),
    "text again with a tag": ("<think>a</think>Write `</think>` last.</think>", "a", "Write `</think>` last.</think>"),
    "none": ("\n Yes, 1 < 2 and <thin air>.", "", "\n Yes, 1 < 2 and <thin air>."),
    "later": ("Yes. <think>a</think> No.", "", "Yes. <think>a</think> No."),
    "only begun": ("<thin", "", "<thin"),
    "blank": (" \n ", "", " \n "),
}


def read(*pieces: str, thinks: bool = False, cut: bool = False) -> tuple[str, str]:
    """Return what the pieces of a stream come to."""
    stream = ThinkingStream(thinks=thinks)
    parts = [("", piece) if stream.passes else stream.take(piece) for piece in pieces]
    parts.append(stream.finish(cut=cut))
    return "".join(thought for thought, _ in parts), "".join(text for _, text in parts)


@pytest.mark.parametrize(("text", "thought", "answer"), BLOCKS.values(), ids=BLOCKS)
def test_leading_block_is_reasoning_however_it_is_cut(text: str, thought: str, answer: str) -> None:
    """Fault 60: whole, in one piece, in two pieces cut anywhere, and letter by letter."""
    assert split_thinking(text) == (thought, answer)
    assert read(*text) == (thought, answer)
    assert {read(text[:at], text[at:]) for at in range(len(text) + 1)} == {(thought, answer)}


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("Check the tides.\n</think>\n\nYes.", "Check the tides.", "Yes."),
        ("Check.</thinking>Yes.", "Check.", "Yes."),
        ("Use `</think>` at the end.", "", "Use `</think>` at the end."),
        ("So:\n```xml\n</think>\n```\nDone.", "", "So:\n```xml\n</think>\n```\nDone."),
        ("It is <think> and </think>.", "", "It is <think> and </think>."),
        ("I use `code` and\n```\nx\n```\n</think>Yes.", "I use `code` and\n```\nx\n```", "Yes."),
    ],
    ids=["own line", "in line", "quoted", "in a fence", "a pair", "after code"],
)
def test_closing_tag_alone_ends_reasoning_in_whole_answers(text: str, thought: str, answer: str) -> None:
    """Always, since some chat templates write the opening tag; but not where the answer speaks of the tag."""
    assert split_thinking(text) == (thought, answer)
    assert read(*text) == ("", text), "a stream has shown the text by then"


@pytest.mark.parametrize("text", ["Check `it`.\n</think>\n\nYes.", "Check.</thought>Yes.", "<think>a</think>Yes."])
def test_model_that_thinks_is_held_back_until_the_tag(text: str) -> None:
    """Declared of a model, a stream comes to what the whole answer comes to, wherever it is cut."""
    whole = split_thinking(text, thinks=True)
    assert whole[1] == "Yes."
    assert {read(text[:at], text[at:], thinks=True) for at in range(len(text) + 1)} == {whole}
    assert read(*text, thinks=True) == whole


def test_model_that_thinks_and_did_not_is_believed() -> None:
    """Without any tag the text is the answer; one that was cut at its length is all reasoning."""
    assert read("Yes", ".", thinks=True) == split_thinking("Yes.", thinks=True) == ("", "Yes.")
    cut = split_thinking("Check the tides", thinks=True, cut=True)
    assert read("Check the ", "tides", thinks=True, cut=True) == cut == ("Check the tides", "")


def test_reasoning_in_its_own_field_lets_held_text_go() -> None:
    """A server that parses the reasoning itself sends no tag."""
    stream = ThinkingStream(thinks=True)
    assert stream.take("Yes") == ("", "")
    assert stream.reasoned_elsewhere() == ("", "Yes")
    assert stream.passes
    early = ThinkingStream(thinks=True)
    assert early.reasoned_elsewhere() == ("", "")
    assert early.take("Yes") == ("", "Yes")


@pytest.mark.parametrize(
    ("text", "stray"),
    [("a </think> b", True), ("a `</think>` b", False), ("<thinx> <think></think>", False), ("a < b", False)],
)
def test_stray_closing_tag_is_noticed_in_every_cut(text: str, stray: bool) -> None:
    """What came before it has been shown, and whoever runs the model is told."""
    for at in range(len(text) + 1):
        stream = ThinkingStream()
        assert "".join(stream.take(piece)[1] for piece in (text[:at], text[at:]) if not stream.passes) in text
        assert stream.stray is stray, at


PIECES = st.lists(st.sampled_from(["<", "think>", "</", "<think>", "</think>", " ", "\n", "a", "`", "</thinking>"]))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(PIECES, st.booleans(), st.booleans())
def test_stream_comes_to_the_same_in_every_cut(pieces: list[str], thinks: bool, cut: bool) -> None:
    """Pieces, letters or all at once: nothing is lost and nothing depends on where it was cut."""
    text = "".join(pieces)
    whole = read(text, thinks=thinks, cut=cut)
    assert read(*pieces, thinks=thinks, cut=cut) == whole
    assert read(*text, thinks=thinks, cut=cut) == whole
    if thinks:
        assert whole == split_thinking(text, thinks=True, cut=cut)

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
    "another at once": ("<think>s1</think><think>s2</think>answer", "s1\n\ns2", "answer"),
    "others after blanks": ("<think>a</think>\n\u200b<think></think> <Thought>b</thought>\nYes.", "a\n\nb", "Yes."),
    "another not closed": ("<think>a</think><think>b", "a\n\nb", ""),
    "nested": ("<think>a<think>b</think>c</think>answer", "a<think>b</think>c", "answer"),
    "nested twice": (
        "<think><think>a <think>b</think> </think>\n</think>Yes.",
        "<think>a <think>b</think> </think>",
        "Yes.",
    ),
    "nested, then another": ("<think>a<think>b</think> </think><think>c</think>Yes.", "a<think>b</think>\n\nc", "Yes."),
    "tag spoken of": ("<think>a <think> b </think>\nYes.", "a <think> b", "Yes."),
    "tag spoken of, and another": (
        "<think>a <think> b</think><think>c</think>Yes.",
        "a <think> b</think><think>c",
        "Yes.",
    ),
    "tag spoken of, and one open": ("<think>a <think> b</think><think>c", "a <think> b\n\nc", ""),
    "tag quoted": ("<think>a `<think>` b</think>Use `</think>`.", "a `<think>` b", "Use `</think>`."),
    "byte order mark": ("\ufeff<think>a</think>Yes.", "a", "Yes."),
    "zero width": ("\u200b \u2060\n<think>a</think>Yes.", "a", "Yes."),
    "invisible alone": ("\ufeff\u200b", "", "\ufeff\u200b"),
    "attributes": ("<think type=\"x\"\nid='1'>a<think\tb>c</think></think>Yes.", "a<think\tb>c</think>", "Yes."),
    "too many attributes": (f"<think {'x' * 201}>a", "", f"<think {'x' * 201}>a"),
    "closes itself": ("<think/>Yes.<think />", "", "<think/>Yes.<think />"),
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


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("s1</think><think>s2</think>Yes.", "s1\n\ns2"),
        ("<think>s1</think> <think>s2</think>Yes.", "s1\n\ns2"),
        ("a<think>b</think>c</think>Yes.", "a<think>b</think>c"),
        ("a <think> b</think>Yes.", "a <think> b"),
        ("\ufeffa</think>Yes.", "\ufeffa"),
    ],
)
def test_model_that_thinks_in_blocks_shows_the_answer_alone(text: str, thought: str) -> None:
    """Also where the template writes the first opening tag."""
    assert split_thinking(text, thinks=True) == (thought, "Yes.")
    assert {read(text[:at], text[at:], thinks=True) for at in range(len(text) + 1)} == {(thought, "Yes.")}


def test_cut_nest_is_all_reasoning() -> None:
    """Its end never came, so that what stands after the inner block is none of the answer."""
    text = "<think>a<think>b</think>c"
    assert split_thinking(text, cut=True) == read(*text, cut=True) == ("a<think>b</think>c", "")


def test_stream_holds_back_no_more_than_may_be_a_tag() -> None:
    """What cannot become a tag any more goes out at once, before a block, in it and after it."""
    stream = ThinkingStream()
    said = [stream.take(piece) for piece in ("<think>a <b", " c <think ", "x<", "/think>", "\n<", "i", ">")]
    assert said == [("a <b", ""), (" c", ""), (" <think x", ""), ("", ""), ("", ""), ("", "<i"), ("", ">")]
    assert ThinkingStream().take("\ufeff\n<i") == ("", "\ufeff\n<i")


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["<think>", "<think></think>", "<think>a<think>b</think>", "<think ", "\u200b", "`"])
def test_very_long_text_is_read_in_linear_time(unit: str) -> None:
    """100,000 of anything, at once and in small pieces: in squared time this test would not end."""
    text = "<think>" + unit * 100_000
    assert read(*(text[at : at + 50] for at in range(0, len(text), 50))) == split_thinking(text)


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


PIECES = st.lists(
    st.sampled_from(
        [
            "<",
            "think>",
            "</",
            "<think>",
            "</think>",
            " ",
            "\n",
            "a",
            "`",
            "</thinking>",
            "think ",
            '<think a="b">',
            "\u200b",
        ]
    )
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(PIECES, st.booleans(), st.booleans())
def test_stream_comes_to_the_same_in_every_cut(pieces: list[str], thinks: bool, cut: bool) -> None:
    """Pieces, letters or all at once: nothing is lost and nothing depends on where it was cut."""
    text = "".join(pieces)
    whole = read(text, thinks=thinks, cut=cut)
    assert read(*pieces, thinks=thinks, cut=cut) == whole
    assert read(*text, thinks=thinks, cut=cut) == whole
    if thinks or text.lstrip().startswith("<think>"):
        assert whole == split_thinking(text, thinks=thinks, cut=cut)


BLANKS = st.sampled_from(["", " ", "\n\n", "\u200b", "\ufeff\n"])
OPENINGS = st.sampled_from(["<think>", "<Think>", '<think type="x">', "<think >"])
NESTS = st.recursive(
    st.sampled_from(["", "a", " b ", "<i>", "1 < 2", "`<think>`", "</thought>"]),
    lambda inner: st.builds("{}{}{}</think>{}".format, st.sampled_from(["", "a "]), OPENINGS, inner, inner),
)
BLOCKS_BEFORE = st.lists(st.builds("{}{}{}</think>".format, BLANKS, OPENINGS, NESTS), min_size=1, max_size=3)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(BLOCKS_BEFORE, st.sampled_from([" ", "\n"]), st.booleans(), st.data())
def test_answer_after_blocks_is_all_that_is_shown(
    blocks: list[str], gap: str, thinks: bool, data: st.DataObject
) -> None:
    """However many blocks come, one in the other or one after the other, and wherever they are cut."""
    text = "".join([*blocks, gap, "Yes, </think> and `<think>`."])
    at = data.draw(st.integers(0, len(text)))
    for thought, answer in (read(text[:at], text[at:], thinks=thinks), read(*text, thinks=thinks)):
        assert answer == "Yes, </think> and `<think>`."
        assert (thought, answer) == split_thinking(text, thinks=thinks)

"""From bytes to text: marks, declarations, the option, guesses, and what is done with awkward bytes."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import SourceError
from nexus_core.toolkit import decode
from nexus_core.toolkit.documents.charsets import encoding_of

RUSSIAN = "Погода сегодня хорошая, и мы пошли гулять в парк с детьми."
POLISH = "Zażółć gęślą jaźń, pójdź w ten świat źle."
TEXTS = {
    "koi8-r": RUSSIAN,
    "windows-1251": RUSSIAN,
    "windows-1252": "ein schöner Tag im März für die Bäume",
    "windows-1250": POLISH,
    "iso-8859-2": POLISH,
    "gb18030": "天气很好，我们去公园散步。",
    "shift_jis": "天気はよいので、公園へ行きました。",
    "euc-jp": "天気はよいので、公園へ行きました。",
    "big5": "天氣很好，我們去公園散步。",
    "euc-kr": "오늘 날씨가 좋아서 공원에 갔습니다.",
    "iso-2022-jp": "天気はよい",
    "windows-1253": "Ο καιρός είναι καλός σήμερα και πάμε στο πάρκο",
    "windows-1255": "מזג האוויר יפה היום והלכנו לפארק",
    "windows-1256": "الطقس جميل اليوم وذهبنا إلى الحديقة",
    "windows-1254": "Bugün hava güzel, parka gittik, şimdi çay içiyoruz",
    "mac-roman": "Le café est fermé l’été à cause de la chaleur",
}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_marks_at_the_start_tell_the_encoding(encoding: str) -> None:
    """The mark is not part of the text, and line ends are made one."""
    assert decode("größe\r\nend".encode(encoding), "utf-8").text == "größe\nend"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["The word hemlock.\n", "Погода хорошая", "天気はよい。\n公園へ"])
def test_wide_characters_without_a_mark_are_recognised(encoding: str, text: str) -> None:
    """Their zero bytes stand all on one side."""
    decoded = decode(text.encode(encoding), "utf-8")
    assert decoded.text == text
    assert encoding.upper() in decoded.problem


def test_pages_that_declare_their_encoding_are_believed() -> None:
    """A declaration holds where the bytes are not UTF-8 throughout."""
    page = '<meta charset="koi8-r"><p>Погода</p>'
    assert "Погода" in decode(page.encode("koi8-r"), "utf-8").text
    assert decode(page.encode(), "utf-8").text == page


DECLARED = {
    "xml": b'<?xml version="1.0" encoding="windows-1251"?><a>\xc0</a>',
    "html5": b"<meta charset=cp1251>\xc0",
    "html4": b'<meta http-equiv="Content-Type" content="text/html; charset=x-cp1251">\xc0',
    "python": b"#!/usr/bin/python\n# -*- coding: cp1251 -*-\n\xc0",
    "latex": b"\\documentclass{article}\n\\usepackage[cp1251]{inputenc}\n\xc0",
}


@pytest.mark.parametrize("data", DECLARED.values(), ids=DECLARED.keys())
def test_declarations_of_many_formats_are_found(data: bytes) -> None:
    """Each says its encoding in its own way; nothing is doubtful then."""
    decoded = decode(data, "utf-8")
    assert "А" in decoded.text
    assert decoded.problem == ""


@pytest.mark.parametrize(
    ("label", "data", "text"),
    [
        ("gb2312", "镕".encode("gbk"), "镕"),
        ("iso-8859-1", b"\x93x\x94 \x80", "“x” €"),
        ("us-ascii", b"caf\xe9", "café"),
        ("latin1", b"\x81", "\x81"),
        ("x-sjis", "①".encode("cp932"), "①"),
        ("ks_c_5601-1987", "똠".encode("cp949"), "똠"),
        ("tis-620", "ก".encode("cp874"), "ก"),
        ("iso-8859-9", b"\xdd", "İ"),
        (" UTF8 ", "ü".encode(), "ü"),
        ("unknown-8bit", "ü".encode(), "ü"),
    ],
)
def test_labels_mean_what_they_mean_to_browsers(label: str, data: bytes, text: str) -> None:
    """By the Encoding standard of the WHATWG."""
    assert decode(data, "utf-8", label).text == text


def test_a_declared_encoding_of_two_bytes_a_character_is_no_encoding() -> None:
    """What says so in ASCII is not in one."""
    assert encoding_of("utf-16") == ""
    assert decode(b'<?xml version="1.0" encoding="utf-16"?>a', "utf-8").text.endswith("a")


@pytest.mark.parametrize("encoding", ["shift_jis", "gb18030", "koi8-r", "utf-16-le"])
def test_the_option_tells_the_encoding_of_files_that_do_not(encoding: str) -> None:
    """What the option names is read without a problem."""
    text = "天気はよい" if encoding != "koi8-r" else "Погода"
    decoded = decode(text.encode(encoding), encoding)
    assert (decoded.text, decoded.problem) == (text, "")


@pytest.mark.parametrize(("encoding", "text"), TEXTS.items(), ids=TEXTS.keys())
@pytest.mark.parametrize("times", [1, 5])
def test_what_is_declared_nowhere_is_guessed_and_reported(encoding: str, text: str, times: int) -> None:
    """One sentence is enough for the usual encodings of before UTF-8."""
    decoded = decode(f"{text}\n".encode(encoding) * times, "utf-8")
    assert decoded.text == f"{text}\n" * times
    assert encoding == "iso-2022-jp" or "is not utf-8 (byte 0x" in decoded.problem


def test_bytes_of_windows_1252_in_utf_8_are_read_as_such() -> None:
    """Quotes that were pasted into a text of another encoding."""
    decoded = decode("Größe, ".encode() + b"the \x93linden\x94 tree", "utf-8")
    assert decoded.text == "Größe, the “linden” tree"
    assert "read as windows-1252 there, 2 times" in decoded.problem


def test_awkward_bytes_leave_the_words_and_the_lines() -> None:
    """A lone CR ends a line, U+2028 and U+0085 do not; marks of files put together go, and so does a last 0x1a."""
    data = "\ufeff\ufeffone\rtwo\r\nthree\u2028and\u0085so\n\ufefffour\n\x1a".encode()
    assert decode(data, "utf-8").text == "one\ntwo\nthree\u2028and\u0085so\nfour\n"


def test_a_zero_byte_late_in_a_text_is_a_space() -> None:
    """It is told, and what stands at the end of a log that was reserved and not written is nothing."""
    decoded = decode(b"word " * 2000 + b"a\0juniper\n" + b"\0" * 500, "utf-8")
    assert decoded.text.endswith("word a juniper\n")
    assert "zero bytes (1)" in decoded.problem


@pytest.mark.parametrize("data", [b"ab\0\0\1\2", bytes(range(256)) * 20, b"\0" * 100, b"%PDF-1.4 x", b"\x1f\x8b\x08\0"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    """With the reason."""
    with pytest.raises(SourceError, match=r"is binary.*left out"):
        decode(data, "utf-8")


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), encoding=st.sampled_from(["utf-8", "utf-16", "latin-1", "ascii", "shift_jis"]))
def test_decoding_yields_text_or_says_why_not(data: bytes, encoding: str) -> None:
    """No bytes lead to anything else than a text or a SourceError."""
    try:
        said = decode(data, encoding).text + "left out"
    except SourceError as error:
        said = str(error)
    assert "left out" in said


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), max_size=100))
def test_decoding_is_the_inverse_of_encoding(text: str) -> None:
    """Whatever is UTF-8 is read as it is."""
    assert decode(b"x" + text.encode(), "utf-8") == decode(("x" + text).encode("utf-16"), "utf-8")
    assert decode(b"x" + text.encode(), "utf-8").text == "x" + text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"Turn the head by 30\xb0 to the left, at the caf\xe9 of the mill.", "30°"),
        (b"A note of M\xfcller on the long way from the mill to the harbour.", "Müller"),
    ],
)
def test_bytes_too_few_to_guess_by_are_western(data: bytes, text: str) -> None:
    """A degree, or a letter of a name: nothing can be guessed by one byte."""
    decoded = decode(data, "utf-8")
    assert text in decoded.text
    assert "windows-1252" in decoded.problem


def test_escapes_of_japanese_in_other_bytes_are_no_error() -> None:
    """A file of a program may hold them by chance."""
    assert "title" in decode(b"\\title{x} \x1b$ yes \xff\xfe\x81 more text here", "utf-8").text


def test_program_file_with_an_escape_of_japanese_is_no_text() -> None:
    """Seven bits are what that encoding has: bytes above them all over tell something else."""
    drawn = Random(7).choices(range(32, 256), k=9000)
    with pytest.raises(SourceError, match="left out"):
        decode(bytes(drawn) + b"\x1b$", "utf-8")


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 5_000, b"\x80" * 5_000, bytes(Random(3).choices((0x40, 0xFF), k=5_000)),
     bytes(Random(3).choices(range(0xB1, 0xD8), k=8_000))],
    ids=["white", "gray", "two shades", "sky"],
)  # fmt: skip
def test_raw_pixels_are_no_text(data: bytes) -> None:
    """Nobody writes with a few characters alone, or pages without a space or a mark of punctuation."""
    with pytest.raises(SourceError, match="left out"):
        decode(data, "utf-8")


def test_line_without_spaces_is_text() -> None:
    """Chinese in an encoding that is declared nowhere has its punctuation."""
    text = "\u78e8\u574a\u4e5d\u70b9\u5f00\u95e8\uff0c\u4e94\u70b9\u5173\u95e8\u3002" * 400
    assert decode(text.encode("gb18030"), "utf-8").text == text

"""The packaged encodings are tiktoken's, byte by byte and count by count."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import subprocess
import sys
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import pytest
import tiktoken
from hypothesis import example, given, settings, strategies as st
from tiktoken_ext import openai_public  # type: ignore[import-untyped]

from nexus_core.toolkit.tokens import exact, vocabulary
from nexus_core.toolkit.tokens.bpe import UNCOMMON, WordCounter, is_common
from nexus_core.toolkit.tokens.encodings import FACTS
from nexus_core.toolkit.tokens.exact import ExactCounter
from nexus_core.toolkit.tokens.vocabulary import load_ranks, pack, unpack

pytestmark = pytest.mark.slow

ENCODINGS = sorted(FACTS)
COMMON = [chr(code) for code in range(0x20000) if not re.match(UNCOMMON, chr(code))]


@lru_cache
def reference(name: str) -> tiktoken.Encoding:
    """Return tiktoken's own encoding, with our ranks in the place of the download."""
    ours = load_ranks(FACTS[name]).by_token()
    download, openai_public.load_tiktoken_bpe = openai_public.load_tiktoken_bpe, lambda *_, **__: ours
    try:
        return tiktoken.Encoding(**openai_public.ENCODING_CONSTRUCTORS[name]())
    finally:
        openai_public.load_tiktoken_bpe = download


@lru_cache
def words_only(name: str) -> WordCounter:
    """Return a counter that never hands over to tiktoken."""

    def refuse(word: str) -> int:
        raise AssertionError(f"too long to be merged: {word!r}")

    return WordCounter(FACTS[name].common_pattern, load_ranks(FACTS[name]), refuse)


@lru_cache
def opened(name: str) -> ExactCounter:
    """Return one counter for all examples of a property, since loading tiktoken takes long."""
    return ExactCounter(name)


@pytest.mark.parametrize("name", ENCODINGS)
def test_ranks_write_back_the_original_file(name: str) -> None:
    """The packaged ranks make the very file whose hash tiktoken publishes."""
    by_token = load_ranks(FACTS[name]).by_token()
    lines = (
        b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in sorted(by_token.items(), key=lambda r: r[1])
    )
    assert hashlib.sha256(b"".join(lines)).hexdigest() == FACTS[name].rank_file_sha256


@pytest.mark.parametrize("name", ENCODINGS)
def test_ranks_place_grows_with_the_rank_of_every_token(name: str) -> None:
    """Every token is found, in the order of the ranks, and what is no token is not found."""
    packed = load_ranks(FACTS[name])
    by_token = packed.by_token()
    longer = sorted((token for token in by_token if len(token) > 1), key=by_token.__getitem__)
    places = [packed.place(token) for token in longer]
    assert 0 not in places
    assert places == sorted(places)
    assert not any(packed.place(token + b"\xf8") for token in longer[:1000])


def test_ranks_pack_and_unpack_are_inverse() -> None:
    """A packed file gives back the ranks it was made of."""
    made = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abc": 257, "é".encode(): 258}
    assert unpack(BytesIO(pack(made))).by_token() == made


def test_ranks_refuse_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One changed byte is noticed, and the message says what to do."""
    facts = FACTS["cl100k_base"]
    source = Path(vocabulary.__file__).with_name("cl100k_base.ranks")
    data = bytearray(source.read_bytes())
    data[-9] ^= 1
    (tmp_path / source.name).write_bytes(data)
    monkeypatch.setattr(vocabulary, "__file__", str(tmp_path / "ranks.py"))
    with pytest.raises(ValueError, match=r"cl100k_base\.ranks is damaged.*install contextnexus again"):
        load_ranks(facts)


@pytest.mark.parametrize("name", ENCODINGS)
def test_facts_have_tiktokens_special_tokens(name: str) -> None:
    """The special tokens are the ones tiktoken knows."""
    assert reference(name).special_tokens_set == set(FACTS[name].special_tokens)


@pytest.mark.parametrize("name", ENCODINGS)
def test_words_class_every_common_character_like_tiktoken(name: str) -> None:
    """Each common character, in every surrounding that tells the classes apart, counts as in tiktoken."""
    counter, encode = words_only(name), reference(name).encode_ordinary
    frames = ["a{0}b A{0}B", " {0}1{0} .{0}\n{0}/{0}", "{0}'s{0}{0}S x {0} {0}{0}", "aB{0}Ba{0}A"]
    texts = [frame.format(character) for character in COMMON for frame in frames]
    assert [text for text in texts if counter.count(text) != len(encode(text))] == []


MIXED = st.text(
    alphabet=st.sampled_from([*" \n\r\t.,'/!aAbBsStT0129é\u0301ª²\xa0\x1c\x85\ufe0f’-_{}", "👩"]), max_size=24
)


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=300, deadline=None)
@given(text=MIXED)
def test_words_count_common_text_like_tiktoken(name: str, text: str) -> None:
    """Counting by words gives tiktoken's count without it."""
    assert words_only(name).count(text) == len(reference(name).encode_ordinary(text))


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=40))
@example(text="\ud83d lone")
@example(text="<|endoftext|>")
@example(text="naïve Straße — łódź, Москва, 東京。")
def test_exact_counter_counts_any_text_like_tiktoken(name: str, text: str) -> None:
    """Any text counts as tiktoken's `encode_ordinary`, special tokens as plain text, lone surrogates replaced."""
    assert opened(name).count(text) == len(reference(name).encode_ordinary(text))


def test_exact_counter_hands_over_to_tiktoken_when_merging_gets_dear() -> None:
    """Once the words merged by hand have cost what loading costs, tiktoken takes over, with the same counts."""
    counter, rng = ExactCounter("cl100k_base"), random.Random(7)
    texts = [" ".join("".join(rng.choices("bcdfghjklmnpqrstvwxz", k=20)) for _ in range(200)) for _ in range(12)]
    assert [counter.count(text) for text in texts] == [len(reference("cl100k_base").encode_ordinary(t)) for t in texts]
    assert "_tiktoken" in vars(counter)
    assert not counter.counts_by_words


def test_exact_counter_survives_a_panic_of_tiktoken(capfd: pytest.CaptureFixture[str]) -> None:
    """A panic in tiktoken's Rust code becomes an upper bound: no token is shorter than a byte."""
    counter, blanks = ExactCounter("o200k_base"), " " * 1_000_000
    counter.count("я")
    assert len(reference("o200k_base").encode_ordinary(blanks[:10_000])) <= counter.count(blanks) <= 1_000_000
    capfd.readouterr()  # Rust reports the panic on the error stream


def test_exact_counter_raises_what_is_no_panic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tiktoken's panic is taken for a count; an interrupt stays an interrupt."""

    class Interrupted:
        def encode_ordinary(self, text: str) -> list[int]:
            raise KeyboardInterrupt

    counter = ExactCounter("cl100k_base")
    monkeypatch.setitem(vars(counter), "_tiktoken", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        counter.count("я")


def test_is_common_leaves_other_scripts_to_tiktoken() -> None:
    """Western European text with emoji is common, other alphabets are not."""
    assert is_common("“Zürich” – l'été … 10 € → ✅ 👩‍💻 ⚠️")
    assert not any(map(is_common, ["ł", "ж", "中", "ʰ", "٣", "\u3000", "\ud800"]))


def test_counting_common_text_imports_no_tiktoken() -> None:
    """A short run in common characters never imports tiktoken, and nothing opens a connection."""
    code = (
        "import socket, sys; socket.socket = None\n"
        "from nexus_core.toolkit.tokens.counter import token_counter\n"
        "assert token_counter('o200k_base').count('It works offline.') == 4\n"
        "assert 'tiktoken' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert exact.__name__ in sys.modules

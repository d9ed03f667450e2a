"""Counters: exact by pieces, bounded on hostile text, estimating on the safe side."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from functools import lru_cache
from pathlib import Path

import pytest
import tiktoken
from hypothesis import example, given, settings, strategies as st

from nexus_core.toolkit.tokens import splitting
from nexus_core.toolkit.tokens.counter import CUT_SURCHARGE, encodings, token_counter
from nexus_core.toolkit.tokens.encodings import FACTS
from nexus_core.toolkit.tokens.splitting import PIECE_LIMIT, sentences, short_pieces
from nexus_core.toolkit.tokens.vocabulary import load_ranks

pytestmark = pytest.mark.slow

EXACT = ["o200k_base", "cl100k_base"]


@lru_cache
def reference(name: str) -> tiktoken.Encoding:
    """Return tiktoken's encoding of our ranks, which other tests compare with tiktoken's own."""
    facts = FACTS[name]
    ranks, special = load_ranks(facts).by_token(), dict(facts.special_tokens)
    return tiktoken.Encoding(name, pat_str=facts.pattern, mergeable_ranks=ranks, special_tokens=special)


def count(name: str, text: str) -> int:
    """Return what tiktoken counts."""
    return len(reference(name).encode_ordinary(text))


# What pre-tokenizers treat differently: white space of all kinds, slashes, contractions, digits, scripts, marks, emoji.
FRAGMENTS = [
    *" \t\n\r\v\x00\x1c\x85\xa0\u2028\u3000/'.!?_-[]AaBbéßŁłжЖ中文。、！あアー・゛\u3099\u0301\u094d٣ʰǅſ7",
    "  ", "\n\n", "\r\n", " /", "\n/", "\n /", "\n  x", "//", "'s", "'LL", "'ſ", ". ", "? ", "! ", " the", " Quick",
    "12", "345", "😀", "👩‍💻", "⚠️", "\ud800",
]  # fmt: skip
MIXED = st.lists(st.sampled_from(FRAGMENTS), max_size=24).map("".join)


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=250, deadline=None)
@given(text=MIXED | st.text(max_size=60))
@example(text="a\n \n/b")
@example(text="end.\n/start")
@example(text="x\n  \n")
def test_counter_counts_any_text_exactly(name: str, text: str) -> None:
    """Cutting into lines and sentences changes no count."""
    assert token_counter(name).count(text) == count(name, text)


def documents() -> list[Path]:
    """Return Markdown and Python of this project."""
    root = Path(__file__).parents[3]
    return [*root.glob("nexus_core/**/*.py"), *root.glob("*.md"), *root.glob("nexus_core/**/*.md")]


@pytest.mark.parametrize("name", EXACT)
def test_counter_counts_real_files_exactly(name: str) -> None:
    """Whole files, and the same without blanks or line breaks, count as in tiktoken."""
    for path in documents():
        text = path.read_text(encoding="utf-8")
        for form in (text, text.replace("\n", " "), text.replace(" ", ""), re.sub(r"\s", "", text)):
            assert token_counter(name).count(form) == count(name, form), path.name


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=200, deadline=None)
@given(left=MIXED, right=MIXED)
def test_counter_adds_up_at_line_and_word_starts(name: str, left: str, right: str) -> None:
    """The parts of a text count as much as the whole where the protocol says so."""
    counter = token_counter(name)
    for whole in (f"{left}x\n[{right}", f"{left}x {right}"):
        at = len(left) + (2 if "\n[" in whole[len(left) :][:3] else 1)
        assert counter.count(whole[:at]) + counter.count(whole[at:]) == counter.count(whole)


@settings(max_examples=200)
@given(text=MIXED)
def test_pieces_hold_the_whole_text(text: str) -> None:
    """Sentences and short pieces lose nothing and add nothing."""
    assert "".join(sentences(text)) == text
    assert "".join(piece for piece, _ in short_pieces(text)) == text


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("limit", [3, 6])
def test_pieces_are_sure_where_they_say_so(name: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sure cut is one in every surrounding; tried with short pieces, so that there are many."""
    monkeypatch.setattr(splitting, "PIECE_LIMIT", limit)
    pattern = splitting._sure().pattern.replace(f"{{0,{PIECE_LIMIT - 1}}}", f"{{0,{limit - 1}}}")
    monkeypatch.setattr(splitting, "_sure", lambda: re.compile(pattern, re.VERBOSE))
    rng = random.Random(limit)
    for _ in range(2000):
        text = "".join(rng.choices(FRAGMENTS[:-1], k=rng.randrange(3, 12)))
        parts = [""]
        for piece, sure in short_pieces(text):
            parts[-1] += piece
            if sure:
                parts.append("")
        assert sum(count(name, part) for part in parts) == count(name, text), text


HOSTILE = {
    "letters a": "a" * 100_000,
    "blanks": " " * 100_000,
    "line breaks": "\n" * 100_000,
    "blanks then word": " " * 5_000 + "x",
    "dashes": "-" * 100_000,
    "carets": "^" * 50_000,
    "digits": "7" * 100_000,
    "accents": "é" * 50_000,
    "chinese": "中" * 20_000,
    "dna": "".join(random.Random(1).choices("ACGT", k=100_000)),
    "random letters": "".join(random.Random(2).choices("abcdefghijklmnopqrstuvwxyz", k=100_000)),
    "mixed case": "".join(random.Random(3).choices("aAbBcC", k=50_000)),
    "punctuation": "".join(random.Random(4).choices("!#$%&*+-/:<=>?@^_|~", k=50_000)),
    "marks": "a" + "\u0301" * 20_000,
    "emoji": "😀" * 20_000,
    "surrogates": "\ud800" * 20_000,
    "words glued": "".join(random.Random(5).choices(["ResponseBody", "pointer", "SOFTWARE", "attached"], k=9_000)),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_counter_never_undercounts_a_long_run(name: str, text: str) -> None:
    """A run without a place to cut is cut anyway, and the surcharge keeps the count from being too low."""
    cuts = len(text) // PIECE_LIMIT + 1
    assert count(name, text) <= token_counter(name).count(text) <= count(name, text) + (CUT_SURCHARGE + 4) * cuts


@pytest.mark.parametrize(
    "text",
    [" " * 1_000_000, "a" * 1_000_000, "\n \t" * 300_000, "^" * 1_000_000],
    ids=["spaces", "letters", "lines", "signs"],  # no id is a million characters long
)
@pytest.mark.parametrize("name", encodings())
def test_counter_survives_a_million_characters(name: str, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing crashes where tiktoken alone panics; no panic is even started."""
    assert 0 < token_counter(name).count(text) <= len(text) * 1.2
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("name", EXACT)
def test_counter_counts_long_lines_without_spaces_exactly(name: str) -> None:
    """Base64, addresses, minified code and Chinese with punctuation have sure places to cut."""
    rng = random.Random(6)
    texts = [
        base64.b64encode(rng.randbytes(9_000)).decode(),
        "&".join(f"utm_{n}=https%3A%2F%2Fexample.org%2F{rng.randrange(10**9)}" for n in range(300)),
        "".join(f"function(e,t){{return e[{n}]+t.value{n}}};" for n in range(300)),
        "图书馆的开放时间会相应调整，请大家留意公告栏。" * 200,
    ]
    assert [token_counter(name).count(text) for text in texts] == [count(name, text) for text in texts]


KINDS = {
    "english": "The harbour master writes down every ship that comes in after dark, together with its cargo. "
    "Most of them carry timber, although in autumn there's more grain than anybody knows where to store. ",
    "german": "Die Gemeinde bittet alle Anwohnerinnen und Anwohner, ihre Fahrzeuge während der Bauarbeiten nicht vor "
    "dem Rathaus abzustellen. Wer eine Ausnahmegenehmigung benötigt, wendet sich an das Straßenverkehrsamt. ",
    "french": "Le conseil municipal a décidé de rénover l'ancienne bibliothèque, fermée depuis l'inondation. ",
    "polish": "Wczoraj wieczorem straż pożarna została wezwana do pożaru w starej piekarni przy ulicy Długiej. ",
    "czech": "Příští týden začne rekonstrukce mostu přes řeku, a proto bude doprava odkloněna přes sousední vesnici. ",
    "turkish": "Belediye, şehir merkezindeki parkın gelecek yıl yenileneceğini ve ağaç dikileceğini açıkladı. ",
    "vietnamese": "Sáng nay trời mưa rất to nên nhiều con đường trong thành phố bị ngập nước. ",
    "russian": "Вчера вечером жители посёлка собрались в школе, чтобы обсудить строительство новой дороги. ",
    "ukrainian": "Минулого тижня у бібліотеці відкрили виставку старовинних мап, які збирали понад сорок років. ",
    "greek": "Χθες το απόγευμα οι κάτοικοι του χωριού συγκεντρώθηκαν στην πλατεία για να συζητήσουν. ",
    "arabic": "اجتمع سكان القرية مساء أمس في المدرسة لمناقشة بناء الطريق الجديد. وافق معظمهم على المشروع. ",
    "hebrew": "אתמול בערב התאספו תושבי הכפר בבית הספר כדי לדון בבניית הכביש החדש. ",
    "hindi": "कल शाम गाँव के लोग नई सड़क के निर्माण पर चर्चा करने के लिए विद्यालय में एकत्र हुए। ",
    "thai": "เมื่อวานเย็นชาวบ้านมารวมตัวกันที่โรงเรียนเพื่อหารือเรื่องการสร้างถนนสายใหม่ ",
    "chinese": "昨天晚上，村民们聚集在学校里讨论修建新公路的问题。大多数人支持这个方案，但也有人担心噪音会影响病人。",
    "japanese": "昨日の夕方、村の人々は新しい道路の建設について話し合うために学校に集まりました。コンピューターも。",
    "korean": "어제 저녁 마을 주민들은 새 도로 건설에 대해 논의하기 위해 학교에 모였습니다. ",
    "georgian": "გუშინ საღამოს სოფლის მცხოვრებლები სკოლაში შეიკრიბნენ ახალი გზის მშენებლობის განსახილველად. ",
    "amharic": "ትናንት ማታ የመንደሩ ነዋሪዎች ስለ አዲሱ መንገድ ግንባታ ለመወያየት በትምህርት ቤት ተሰበሰቡ። ",
    "emoji": "Great job 🎉🎉 see you 👋🏽 at the café ☕️! 👩‍💻 is coding 🚀🔥✅ ❌ ⚠️ 🇩🇪 ",
    "capitals": "WARNING: DO NOT OPEN THE CABINET WHILE THE MACHINE IS RUNNING; HIGH VOLTAGE INSIDE. ",
    "names": "getUserAccountById setHTTPResponseHeader XMLHttpRequestFactoryBeanImpl parse_json_object_from_stream ",
    "minified": "function(e,t){var n=e.length,r=[];for(var i=0;i<n;i++)r.push(t(e[i],i));return r}var a=window;",
    "addresses": "https://example.org/api/v2/orders/0f8fad5b-d9cb-469f-a165-70867728950e?q=a%20b&page=7#sec-3 ",
    "latex": r"\begin{equation} \int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2} \end{equation} $\alpha_{i,j}$ ",
    "digits": " ".join(str(random.Random(n).randrange(10 ** (n % 11 + 1))) for n in range(60)),
    "base64": base64.b64encode(random.Random(8).randbytes(900)).decode(),
    "hex": "\n".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(9)),
    "json": json.dumps([{"id": n, "userName": f"user_{n}", "active": True, "tags": [], "at": None} for n in range(9)]),
    "json indented": json.dumps([{"id": n, "userName": f"user_{n}", "score": n / 7} for n in range(9)], indent=2),
    "csv": "\n".join(f"{n},19{n:02d}-0{n % 9 + 1}-11,{n * 3.7:.2f},ACME-{n * 977},open" for n in range(40)),
    "markdown": "# Title\n\n- **one**: `code`, [link](a.md)\n- two\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n> quoted\n",
    "python": Path(splitting.__file__).read_text(encoding="utf-8"),
    "rare word": "Donaudampfschifffahrtsgesellschaftskapitänsmütze " * 3,
    "long run": "ab" * 700,
}  # fmt: skip


@pytest.mark.parametrize("text", KINDS.values(), ids=KINDS)
def test_approximate_is_never_below_the_known_encodings(text: str) -> None:
    """Whatever the kind of text, the estimate is at least the larger exact count."""
    assert token_counter("approximate").count(text) >= max(count(name, text) for name in EXACT)


@pytest.mark.parametrize(
    ("kind", "most"),
    [("english", 1.2), ("german", 1.2), ("python", 1.25), ("markdown", 1.25), ("chinese", 1.5), ("russian", 1.75)],
)
def test_approximate_is_not_far_above(kind: str, most: float) -> None:
    """On ordinary text the estimate stays close to the larger exact count."""
    text = KINDS[kind] * 5
    assert token_counter("approximate").count(text) <= most * max(count(name, text) for name in EXACT)


@settings(max_examples=200, deadline=None)
@given(left=MIXED, right=MIXED)
def test_approximate_parts_hold_the_whole(left: str, right: str) -> None:
    """The estimates of two lines are never less than that of both together."""
    counter = token_counter("approximate")
    assert counter.count(f"{left}x\n") + counter.count(f"[{right}") >= counter.count(f"{left}x\n[{right}")


def test_token_counter_is_made_once() -> None:
    """The same name gives the same counter, which tells what it is."""
    counter = token_counter("o200k_base")
    assert token_counter("o200k_base") is counter
    assert (counter.name, counter.exact, token_counter("approximate").exact) == ("o200k_base", True, False)


@pytest.mark.parametrize(("name", "hint"), [("o200k-base", "o200k_base"), ("aproximate", "approximate")])
def test_token_counter_names_the_encoding_that_was_meant(name: str, hint: str) -> None:
    """A misspelt name is an error that says what there is."""
    with pytest.raises(
        ValueError, match=f"no encoding '{name}', did you mean '{hint}'.*o200k_base, cl100k_base and approximate"
    ):
        token_counter(name)

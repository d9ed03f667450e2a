"""Questions in everyday typing find the text that has their words in another form: in a pipeline, and in a store."""

from __future__ import annotations

from pathlib import Path

import pytest
from nexus_rankers import small_index
from nexus_rankers.bm25 import Bm25

from nexus_core import Item, Pipeline, Store
from tests.plugins.conftest import ids, ranked

TEXTS = {
    "nfd": "The cre\u0300me fre\u0302che of Jose\u0301 keeps two weeks.",
    "ligature": "The proﬁle of the ﬂight staﬀ is kept for a year.",
    "wide": "型番ＸＹＺ－９８７６は欠品です。",
    "shy": "Die Kraft\u00adfahrzeug\u00adsteuer beträgt neunzig Euro.",
    "turkish": "İZMİR şubesi kapalıdır. AYDIN ışıkları söner.",
    "zh": "系统由Docker部署，密钥是AES密钥，报警请打12110。",
    "bird": "鸟。鱼。马在田里。",
    "ja": "ﾒﾓは人々が書く。",
    "ko": "대전에서는 버스가 무료입니다.",
    "th": "ร้านกาแฟอยู่ชั้นสองและเปิดเวลาเก้าโมง",
    "cpp": "C++ code is checked with the tool Ash.",
    "csharp": "C# code is checked with the tool Elm.",
    "version": "Release v5.2.9 mended the scanner.",
    "ora": "Error ORA-01555 means that the snapshot is too old.",
    "seats": "The stadium seats 45,500 people.",
    "weight": "The crate weighs 9kg when empty.",
    "heavier": "The crate weighs 8kg when full.",
    "date": "The contract ends on 2023-12-31 at noon.",
    "it": "IT is reached by bell.",
    "hindi": "कमल तालाब में खिलता है।",
    "hindi2": "कोमल कपड़ा महँगा है।",
    "arabic": "قَلَمُ الطالبِ أزرقُ.",
    "persian": "خانه\u200cها در خیابان هستند.",
    "greek": "Η ΓΈΦΥΡΑ ΕΊΝΑΙ ΠΑΛΙΆ.",
    "russian": "Мост закры́т на ремо́нт.",
    "hamlet": "This is what it will be: to be or not to be.",
    "emoji": "Reaction ✅ means done.",
}
ASKED = {
    "creme freche": "nfd", "profile of flight staff": "ligature", "xyz-9876": "wide", "Kraftfahrzeugsteuer": "shy",
    "izmir": "turkish", "aydın isiklari": "turkish", "docker": "zh", "12110": "zh", "AES": "zh", "鸟": "bird",
    "メモ": "ja", "人々": "ja", "대전": "ko", "กาแฟ": "th", "C++ tool": "cpp", "c# tool": "csharp", "5.2.9": "version",
    "ORA01555": "ora", "45500 people": "seats", "crate of 9 kg": "weight", "31 December 2023": "date",
    "12/31/2023": "date", "How is IT reached?": "it", "कमल": "hindi", "कोमल": "hindi2", "قلم": "arabic",
    "خانه": "persian", "γεφυρα": "greek", "ремонт": "russian", "✅": "emoji",
}  # fmt: skip
ITEMS = tuple(Item(id=name, text=text) for name, text in TEXTS.items())
ODD = (
    "field:value AND (a OR b)", "*", "a~2 ^3", "[1 TO", "'; DROP TABLE items; --", "\0", "\n", "?!…", "🎈", "(.*)+",
    "word " * 20_000, "x" * 5_000, "to be or not to be", "\ud800 ferry", "ﷺ ´ ¨",
)  # fmt: skip


@pytest.mark.parametrize(("query", "wanted"), ASKED.items())
def test_bm25_finds_a_word_in_another_form(query: str, wanted: str) -> None:
    """First, among texts of all scripts."""
    assert ids(ranked(Bm25(), query, ITEMS))[0] == wanted


def test_both_indexes_rank_words_of_all_languages_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one for few items and the one for many."""
    few = [ids(ranked(Bm25(), query, ITEMS))[0] for query in (*ASKED, "to be or not to be")]
    monkeypatch.setattr(small_index, "FEW_ITEMS", 0)
    assert [ids(ranked(Bm25(), query, ITEMS))[0] for query in (*ASKED, "to be or not to be")] == few
    assert few[-1] == "hamlet"


@pytest.mark.parametrize("query", ODD, ids=range(len(ODD)))
def test_bm25_takes_any_query(query: str) -> None:
    """A score for each item, and no error."""
    assert len(ids(ranked(Bm25(), query, ITEMS))) == len(ITEMS)


async def test_a_store_finds_words_in_another_form(tmp_path: Path) -> None:
    """By the same terms; an odd query is no error there either."""
    async with Store(tmp_path / "store") as store:
        await store.create("words")
        await store.add("words", ITEMS)
        found = {query: (await store.search("words", query, limit=3)).items for query in ASKED}
        assert {query: items[0].id for query, items in found.items() if items} == ASKED
        for query in ODD:
            assert len((await store.search("words", query, limit=3)).items) <= 3


PIPELINE = """
name: words
models: {main: {use: extractive}}
steps:
  - gather: {use: files, paths: texts}
  - rank: bm25
  - prompt: qa
  - generate: main
"""


@pytest.mark.parametrize(
    ("query", "wanted"),
    [("creme freche", "two weeks"), ("5.2.9", "scanner"), ("9 kg", "9kg"), ("鸟", "鸟"), ("ремонт", "Мост")],
)
async def test_a_pipeline_answers_by_a_word_in_another_form(query: str, wanted: str, tmp_path: Path) -> None:
    """Ranked, packed and quoted by the same words."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / f"{name}.txt").write_text(text, "utf-8")
    (tmp_path / "words.yaml").write_text(PIPELINE, "utf-8")
    async with Pipeline.load(tmp_path / "words.yaml") as pipeline:
        answer = await pipeline.run(query)
    assert wanted in answer.text


@pytest.mark.parametrize(("query", "wanted"), [("zug", "Zug 9"), ("самолёт", "летит")])
async def test_a_text_that_tells_no_language_is_quoted_beside_those_that_do(
    query: str, wanted: str, tmp_path: Path
) -> None:
    """The language that most of the others have is its own, for the answer as for the ranking."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for text in ("Самолёт летит над морем и садится в городе.", "Поезд стоит на станции, и люди ждут.", "Zug 9"):
        (folder / f"{text[:3]}.txt").write_text(text, "utf-8")
    (tmp_path / "words.yaml").write_text(PIPELINE, "utf-8")
    async with Pipeline.load(tmp_path / "words.yaml") as pipeline:
        assert wanted in (await pipeline.run(query)).text

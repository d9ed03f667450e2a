"""What `extractive` makes of questions on other subjects and in other languages, in a pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
from nexus_extractive.connector import Extractive

from nexus_core import CallOptions, Item, Message, PackedItem, Pipeline, Prompt, TraceEntry
from nexus_core.toolkit import item_vectors_key

PIPELINE = """
name: honest
models: {main: {use: extractive, sentences: 1}}
steps:
  - gather: {use: files, paths: docs}
  - rank: %s
  - prompt: {template: qa, budget: 4000}
  - generate: main
"""
FUSE = "{use: fuse, rankers: [bm25, semantic]}"
QUEEN = "A queen lives three to five years and lays up to two thousand eggs a day."
DEW = (
    "Let the tube cool for an hour before observing, or warm air inside blurs the stars. Dew settles on lenses when"
    " they are colder than the air; a heating strip of ten watts prevents it."
)


async def said(folder: Path, text: str, query: str, rank: str = "bm25") -> str:
    """Return the answer of a pipeline over one document."""
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "a.txt").write_text(text, "utf-8")
    (folder / "honest.yaml").write_text(PIPELINE % rank, "utf-8")
    async with Pipeline.load(folder / "honest.yaml") as pipeline:
        return (await pipeline.run(query)).text


@pytest.mark.parametrize(
    "query", ["How many tickets may be bought a day?", "Who founded the company?", "When does the museum open?"]
)
async def test_general_words_alone_are_no_match(tmp_path: Path, query: str) -> None:
    """A day, or years, are in texts of any subject."""
    assert (await said(tmp_path, QUEEN, query)).startswith("Nothing in")


LANGUAGES = {
    "chinese": ("每位读者一次可以借十本书，借期三十天。", "一次最多能借几本书？", "绿茶应该怎么保存？"),
    "japanese": (
        "勤務時間は九時から五時半まで、昼休みは一時間です。",
        "昼休みはどのくらいですか？",
        "犬は何を食べますか？",
    ),
    "thai": ("ช้างเอเชียดื่มน้ำวันละแปดสิบลิตร", "ช้างดื่มน้ำวันละกี่ลิตร", "ห้องสมุดปิดเมื่อไร"),
    "arabic": ("تفتح المكتبة أبوابها من التاسعة صباحا وتغلق يوم الجمعة.", "متى تغلق المكتبة؟", "ما سرعة جمال السباق؟"),
    "russian": (
        "Билет в музей стоит четыреста рублей, для пенсионеров двести.",
        "Сколько стоит билет для пенсионера?",
        "Когда сушат грибы?",
    ),
    "hindi": ("स्टंप की ऊँचाई अट्ठाईस इंच है।", "स्टंप की ऊँचाई कितनी है?", "दूध कब डाला जाता है?"),
    "korean": ("배추는 소금물에 여덟 시간 절입니다.", "배추를 몇 시간 절이나요?", "도서관은 언제 쉬나요?"),
}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_other_languages_are_answered_and_refused(tmp_path: Path, language: str) -> None:
    """A question that the text answers is, and one on another subject is not."""
    text, answered, foreign = LANGUAGES[language]
    assert await said(tmp_path, text, answered) == f"{text} [1]"
    assert (await said(tmp_path, text, foreign)).startswith("Nothing in")


async def test_vectors_find_an_answer_in_other_words(tmp_path: Path) -> None:
    """The question shares one word of three with the text; the cosine speaks for it."""
    query = "What is the life span of a queen?"
    assert (await said(tmp_path, QUEEN, query)).startswith("Nothing in")
    assert await said(tmp_path, QUEEN, query, FUSE) == f"{QUEEN} [1]"


async def test_vectors_refuse_a_word_in_another_sense(tmp_path: Path) -> None:
    """What is cooled is a telescope; the cosine speaks against it."""
    query = "How long is a burn cooled?"
    assert (await said(tmp_path, DEW, query)).startswith("Let the tube cool")
    assert (await said(tmp_path, DEW, query, FUSE)).startswith("Nothing in")


@pytest.mark.parametrize(("model", "quoted"), [("static:any", True), ("minilm:any", True), ("onnx:any", False)])
async def test_cosines_count_by_models_that_were_measured_alone(model: str, quoted: bool) -> None:
    """The same cosine of .6, for a question that by its words gets no answer."""
    item = Item(id="queen", text=QUEEN)
    item.features.put(item_vectors_key(model), b"")
    packed = PackedItem(number=1, item=item, text=QUEEN, score=1.0)
    entry = TraceEntry(item_id="queen", title="", decision="kept", reason="", score=1.0, scores={"semantic": 0.6})
    query = "What is the life span of a queen?"
    asked = Prompt(messages=(Message("user", query),), query=query, items=(packed,), trace=(entry,))
    said = (await Extractive().send_prompt(asked, CallOptions())).text
    assert said == (f"{QUEEN} [1]" if quoted else "Nothing in the 1 item that was packed matches the question.")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_vectors_say_nothing_of_other_languages(tmp_path: Path, language: str) -> None:
    """The static table knows English: an answer in another language is the same with it."""
    text, answered, foreign = LANGUAGES[language]
    assert await said(tmp_path, text, answered, FUSE) == f"{text} [1]"
    assert (await said(tmp_path, text, foreign, FUSE)).startswith("Nothing in")

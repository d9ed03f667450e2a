"""What is one word however it is written, and what holds for the terms of any text."""

from __future__ import annotations

import re
import sys
from unicodedata import category, normalize

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import Item
from nexus_core.toolkit import detect_language, has_only_stop_words, item_languages, language_of, query_terms, terms
from nexus_core.toolkit.text import scripts

SAME = {
    "decomposed": ("cre\u0300me", "crème"),
    "ligature": ("ﬂoor", "floor"),
    "full width": ("ＤＥＦ－５６７８", "DEF-5678"),
    "soft hyphen": ("Ver\u00adwaltung", "Verwaltung"),
    "zero width space": ("extra\u200bordinary", "extraordinary"),
    "sharp s": ("GROSSE", "große"),
    "final sigma": ("ΛΌΓΟΣ", "λόγος"),
    "stress mark": ("замо\u0301к", "замок"),
    "tatweel and points": ("كِتـــاب", "كتاب"),
    "points of Hebrew": ("שָׁלוֹם", "שלום"),
    "half-width kana": ("ﾒﾓ", "メモ"),
    "version": ("v4.1.7", "4.1.7"),
    "thousands": ("25,000", "25000"),
    "digits of Arabic": ("٢٠٢٤", "2024"),
    "German date": ("31.12.2023", "2023-12-31"),
    "American date": ("12/31/2023", "2023-12-31"),
    "Catalan": ("col·legi", "collegi"),
    "quotation marks": ("don’t", "don't"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_forms_of_one_word_have_the_same_terms(one: str, other: str) -> None:
    """Whichever the text has, the other finds it."""
    assert terms(one) == terms(other) != []


SHARED = {
    "accents left out": ("façade", "facade"),
    "dotless i": ("ışık", "isik"),
    "dotted capital": ("İZMİR", "izmir"),
    "nukta": ("पढ़ना", "पढना"),
    "non-joiner": ("خانه\u200cها", "خانه"),
    "particle": ("부산에서는", "부산"),
    "script changes": ("使用Docker部署", "docker"),
    "one character": ("小鸟在飞", "鸟"),
    "code of an error": ("ORA-01555", "ORA01555"),
    "hash": ("md-5", "MD5"),
    "mail": ("e-mails", "email"),
    "short parts": ("Wi-Fi", "wifi"),
    "prefix": ("co-operative", "cooperative"),
    "points": ("45.500.000", "45,500,000"),
    "unit": ("12kg", "12 kg"),
    "date in words": ("2023-12-31", "31 December 2023"),
    "emoji": ("done✅", "✅"),
    "company": ("R&D", "r&d"),
    "year in one word": ("FY2018", "fy 2018"),
    "thousands in one word": ("Form 10-K", "10 k form"),
    "amount in one word": ("take 500mg", "500 mg"),
    "name with a version": ("Docker24", "docker"),
    "standard": ("JPEG2000", "jpeg 2000"),
    "standard in parts": ("SHA-256", "sha 256"),
    "capitals inside": ("OAuth2", "oauth 2"),
    "library": ("Node.js", "nodejs"),
    "article of Bengali": ("বইটি", "বই"),
    "article of Bengali with a case": ("বইগুলোকে", "বই"),
}


@pytest.mark.parametrize(("text", "query"), SHARED.values(), ids=SHARED)
def test_a_query_in_another_form_shares_all_its_terms(text: str, query: str) -> None:
    """The text may have more of them, such as the word with its marks."""
    assert set(terms(query)) <= set(terms(text))
    assert terms(query)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("uses OAuth 2.0", "oauth2"),
        ("SHA 256", "SHA256"),
        ("jpeg 2000", "JPEG2000"),
        ("10-K", "10K"),
    ],
)
def test_a_name_in_one_word_shares_its_parts_with_a_text_that_has_it_in_two(text: str, query: str) -> None:
    """Whole and parts stand side by side, so that either form finds the other, and its own best."""
    assert len(set(terms(query)) & set(terms(text))) == 2


@pytest.mark.parametrize(
    ("text", "query", "language"),
    [
        ("Mitgliedsbeiträge", "Beitrag", "german"),
        ("Beitragsordnung", "Beiträge", "german"),
        ("Kündigungsfrist", "Kündigungen", "german"),
        ("verzekeringspremie", "premie", "dutch"),
        ("försäkringspremien", "premie", "swedish"),
    ],
)
def test_a_compound_with_a_linking_s_has_its_parts(text: str, query: str, language: str) -> None:
    """Whichever of the two the question has."""
    assert set(terms(query, language)) & set(terms(text, language))


@pytest.mark.parametrize("word", ["Universität", "Gesellschaft", "Gegenstände", "Wissenschaftler"])
def test_a_word_with_an_s_of_its_own_is_no_compound(word: str) -> None:
    """Its halves are no words; in English nothing is taken apart."""
    assert {term[:5].lower() for term in terms(word, "german")} == {word[:5].lower()}
    assert len(terms("transportation", "english")) == 1


def test_a_hash_has_no_parts() -> None:
    """Of many runs of letters and digits each alone says nothing."""
    assert terms("9f86d081884c7d65") == ["9f86d081884c7d65"]


def test_a_date_that_may_be_read_in_two_ways_is_found_by_both() -> None:
    """With slashes, the month may come first or second."""
    read = set(terms("04/05/2023"))
    assert read & set(terms("2023-04-05")) >= {"2023-04-05", "5"}
    assert read & set(terms("4 May 2023")) == {"4", "2023"}
    assert "2023-05-04" in read


DIFFERENT = {
    "names with signs": ("C++", "C#"),
    "letter and name": ("C", "C++"),
    "versions": ("v2.3.1", "v3.1"),
    "vowel signs": ("कमल", "कोमल"),
    "vowels of Tamil": ("பல்", "பால்"),
    "ranges": ("1-2", "12"),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_different_words_share_no_term(one: str, other: str) -> None:
    """What is left out must not make two words one."""
    assert not set(terms(one)) & set(terms(other))


def test_a_word_with_marks_is_found_best_as_it_is_written() -> None:
    """It has a term of its own besides that of the word without them."""
    assert len(set(terms("résumé")) & set(terms("résumé"))) > len(set(terms("résumé")) & set(terms("resume"))) > 0


def test_a_stop_word_in_capitals_is_a_word() -> None:
    """Not where the whole text is in capitals."""
    assert terms("IT is here") == ["it", "here"]
    assert terms("ASK IT NOW") == terms("ask it now") == ["ask", "now"]


def test_a_query_of_stop_words_alone_is_told_apart() -> None:
    """Its words are kept when they are asked for."""
    assert has_only_stop_words("to be or not to be")
    assert not has_only_stop_words("to be a king")
    assert not has_only_stop_words("?!")
    assert query_terms("to be", all_words=True) == [["to", "be"]]


TEXTS = st.text(max_size=40) | st.text(alphabet="eéíñıİßﬁ가각हिंदाىكעברμ①ｶﾞ\u0301\u0323\u200c\u00ad -.1", max_size=30)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(["english", "turkish", "german", "none"]))
def test_terms_hold_no_white_space_and_are_short(text: str, language: str) -> None:
    """An index that cuts at white space gets each as it is."""
    for term in terms(text, language):
        assert term
        assert term == "".join(term.split())
        assert len(term) <= 300


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(categories=["L", "Mn", "Mc", "Nd"]), max_size=30))
def test_terms_are_the_same_in_each_normal_form(text: str) -> None:
    """Whatever wrote the text composed its letters or did not."""
    expected = terms(text)
    for form in ("NFC", "NFD", "NFKC"):
        assert terms(normalize(form, text)) == expected, form


LANGUAGES = {
    "german": "Die Sitzung beginnt um zehn Uhr und dauert nicht lange.",
    "french": "La réunion commence à dix heures et ne dure pas longtemps.",
    "spanish": "La reunión empieza a las diez y no dura mucho para nadie.",
    "polish": "Spotkanie zaczyna się o dziesiątej i nie trwa długo.",
    "russian": "Встреча начинается в десять часов.",
    "greek": "Η συνάντηση αρχίζει στις δέκα.",
    "persian": "جلسه ساعت ده شروع می‌شود و طولانی نیست.",
    "english": "The meeting begins at ten and is short.",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_tells_its_language(language: str) -> None:
    """By its script or its function words."""
    assert detect_language(LANGUAGES[language]) == language


def test_the_language_of_an_item_may_be_named() -> None:
    """By its name or its code; what has no stemmer is not believed."""
    text = LANGUAGES["german"]
    assert language_of(Item(id="a", text=text, metadata={"language": "nl-BE"})) == "dutch"
    assert language_of(Item(id="a", text=text, metadata={"language": "Klingon"})) == "german"
    assert language_of(Item(id="a", text=text, kind="code")) == "english"


def test_items_that_do_not_tell_are_taken_for_what_the_others_are() -> None:
    """A list of names among German texts is stemmed as German."""
    items = [Item(id="a", text=LANGUAGES["german"]), Item(id="b", text="Müller 4711")]
    assert item_languages(items) == ["german", "german"]
    assert item_languages(items, "none") == ["none", "none"]


def test_every_combining_mark_belongs_to_a_word() -> None:
    """Of all that this Python's Unicode has, in whichever block; what is beside them does not."""
    found = re.compile(f"[{scripts.marks()}]").findall("".join(map(chr, range(sys.maxunicode + 1))))
    assert found == [chr(n) for n in range(sys.maxunicode + 1) if category(chr(n)).startswith("M")]

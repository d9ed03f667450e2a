"""Collections as files: what is read, and what is said of files that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core import UsageError
from nexus_core.evaluation.beir import BeirFiles, read_collection
from nexus_core.evaluation.collection import JudgedCollection


def read(folder: Path) -> JudgedCollection:
    return read_collection(BeirFiles.of_folder(folder))


def test_a_folder_in_beir_layout_is_read_whole(folder: Path) -> None:
    """Items, queries with their answers, and grades above 0; the name is the folder's."""
    found = read(folder)
    assert (found.name, len(found.items or ()), found.judgements, found.warnings) == ("office", 4, 4, ())
    assert found.relevant["q1"] == {"leave": 2}
    assert found.queries[0].answers == ("28 days",)
    assert found.ends["leave"] == (31, 57)


def test_an_item_says_its_kind_tags_and_metadata_or_has_the_kind_that_is_given(folder: Path) -> None:
    """What BEIR does not know is optional."""
    line = '{"_id": "x", "text": "y", "kind": "code", "tags": ["t"], "metadata": {"a": 1}, "source": "s"}\n'
    with (folder / "corpus.jsonl").open("a") as opened:
        opened.write(line)
    items = read_collection(BeirFiles.of_folder(folder), kind="markdown").items or ()
    assert {item.kind for item in items[:4]} == {"markdown"}
    assert (items[4].kind, items[4].tags, items[4].metadata, items[4].source) == ("code", ("t",), {"a": 1}, "s")


def test_qrels_in_a_folder_of_splits_are_found(folder: Path) -> None:
    """As BEIR's own archives have them."""
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "test.tsv")
    assert read(folder).judgements == 4


def test_without_items_the_corpus_tells_only_where_sentences_end(folder: Path) -> None:
    """The items are gathered by the pipelines then."""
    found = read_collection(BeirFiles.of_folder(folder), with_items=False)
    assert (found.items, found.ends["desk"]) == (None, (20, 36))


def test_a_byte_order_mark_windows_lines_and_line_separators_in_a_text_do_no_harm(folder: Path) -> None:
    """Only a line feed ends a line."""
    rows = '\ufeff{"_id": "q1", "text": "a\u2028b"}\r\n\r\n{"_id": "q2", "text": "c"}\r\n'
    (folder / "queries.jsonl").write_bytes(rows.encode())
    assert [query.text for query in read(folder).queries] == ["a\u2028b", "c"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param('"answers": ["b"]', True, id="answers"),
        pytest.param('"answers": []', False, id="no-answers"),
        pytest.param('"answers": [], "evidence": {"badge": [[0]]}', None, id="evidence"),
        pytest.param('"answers": [], "answerable": true', True, id="said"),
        pytest.param('"answerable": false', False, id="said-no"),
        pytest.param('"answers": null', None, id="null"),
        pytest.param('"evidence": {}', None, id="nothing"),
    ],
)
def test_a_query_says_whether_there_is_an_answer(folder: Path, fields: str, expected: bool | None) -> None:
    """One that does needs no relevant item: its ranking is not measured, and its answer is."""
    appended("queries.jsonl", f'{{"_id": "q9", "text": "a", {fields}}}')(folder)
    found = read(folder)
    answerable = {query.id: query.answerable for query in found.to_answer}
    assert ("q9" in answerable, answerable.get("q9")) == (expected is not None, expected)
    assert [query.id for query in found.queries] == ["q1", "q2", "q3"]


def appended(name: str, line: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / name).open("a") as opened:
            opened.write(line + "\n")

    return change


def replaced(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda folder: (folder / "queries.jsonl").unlink(), "there is no such file", id="no-queries"),
        pytest.param(lambda folder: (folder / "qrels.tsv").unlink(), "cannot read .*qrels.tsv", id="no-qrels"),
        pytest.param(appended("corpus.jsonl", "{"), r"corpus.jsonl:5: not JSON", id="no-json"),
        pytest.param(appended("corpus.jsonl", "[]"), r"corpus.jsonl:5: not a JSON object", id="no-object"),
        pytest.param(appended("corpus.jsonl", '{"_id": "x"}'), r"corpus.jsonl:5: 'text' is missing", id="no-text"),
        pytest.param(
            appended("corpus.jsonl", '{"_id": 5, "text": ""}'), r"'_id' is missing or no text", id="number-id"
        ),
        pytest.param(
            appended("corpus.jsonl", '{"_id": "desk", "text": ""}'), r"corpus.jsonl:5: .*'desk' .* line 3", id="twice"
        ),
        pytest.param(appended("corpus.jsonl", '{"_id": "x", "text": "", "tags": "t"}'), "'tags' must be", id="tags"),
        pytest.param(appended("corpus.jsonl", '{"_id": "x", "text": "", "title": 1}'), "'title' must be", id="title"),
        pytest.param(appended("corpus.jsonl", '{"_id": "x", "text": "", "ends": 1}'), "'ends' must be", id="ends"),
        pytest.param(
            appended("corpus.jsonl", '{"_id": "x", "text": "", "metadata": [1]}'), "'metadata' must be", id="metadata"
        ),
        pytest.param(
            appended("queries.jsonl", '{"_id": "q9", "text": " "}'),
            r"queries.jsonl:4: the query 'q9' is empty",
            id="empty",
        ),
        pytest.param(
            appended("queries.jsonl", '{"_id": "q9", "text": "a", "answers": "b"}'), "'answers' must be", id="answers"
        ),
        pytest.param(
            appended("queries.jsonl", '{"_id": "q9", "text": "a", "answerable": 1}'),
            "queries.jsonl:4: 'answerable' must be true or false",
            id="answerable",
        ),
        pytest.param(
            appended("queries.jsonl", '{"_id": "q9", "text": "a", "answers": ["b"], "answerable": false}'),
            "there are 'answers': leave one of them out",
            id="answers-of-what-has-none",
        ),
        pytest.param(
            appended("queries.jsonl", '{"_id": "q9", "text": "a", "evidence": {"x": []}}'),
            "'evidence' must",
            id="evidence",
        ),
        pytest.param(replaced("queries.jsonl", "\n"), "holds no queries", id="queries-empty"),
        pytest.param(replaced("corpus.jsonl", ""), "holds no items", id="corpus-empty"),
        pytest.param(replaced("qrels.tsv", "q1\tleave\t1\n"), r"qrels.tsv:1: the first line must be", id="no-header"),
        pytest.param(replaced("qrels.tsv", "query-id corpus-id score\n"), r"qrels.tsv:1: .* put tabs", id="spaces"),
        pytest.param(replaced("qrels.tsv", ""), r"qrels.tsv:1: the first line must be", id="qrels-empty"),
        pytest.param(replaced("qrels.tsv", "query-id\tcorpus-id\tscore\n"), "holds no judgements", id="no-judgements"),
        pytest.param(appended("qrels.tsv", "q1 0 leave 1"), r"qrels.tsv:7: 1 column", id="columns"),
        pytest.param(appended("qrels.tsv", "q1\tbadge\thigh"), r"qrels.tsv:7: the score 'high'", id="score"),
        pytest.param(appended("qrels.tsv", "q1\tbadge\t.5"), r"the score '.5' is no whole", id="half"),
        pytest.param(appended("qrels.tsv", "q1\tbadge\tinf"), r"the score 'inf' is no whole", id="infinite"),
        pytest.param(
            appended("qrels.tsv", "q1\tleave\t1"), r"qrels.tsv:7: .* judged 2 above and 1 here", id="contrary"
        ),
        pytest.param(
            replaced("qrels.tsv", "query-id\tcorpus-id\tscore\nz\tleave\t1\n"), "no id in common", id="other-queries"
        ),
        pytest.param(
            replaced("qrels.tsv", "query-id\tcorpus-id\tscore\nq1\tz\t1\n"),
            "none of the relevant items",
            id="other-items",
        ),
        pytest.param(
            replaced("qrels.tsv", "query-id\tcorpus-id\tscore\nq1\tleave\t0\n"), "score above 0", id="nothing-relevant"
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_place(
    folder: Path, change: Callable[[Path], None], message: str
) -> None:
    """What, where (file and line), and what is expected there."""
    change(folder)
    with pytest.raises(UsageError, match=message):
        read(folder)


def test_a_file_that_is_not_utf8_is_refused(folder: Path) -> None:
    """By name, and with the place of the byte."""
    (folder / "corpus.jsonl").write_bytes(b'{"_id": "x", "text": "\xff"}')
    with pytest.raises(UsageError, match="corpus.jsonl is not UTF-8: byte 22"):
        read(folder)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        pytest.param(appended("qrels.tsv", "z\tleave\t1"), "not measured: 1 query (such as 'z')", id="unknown-query"),
        pytest.param(appended("qrels.tsv", "q1\tz\t1"), "not in the corpus: 1 item (such as 'z')", id="unknown-item"),
        pytest.param(appended("qrels.tsv", "q1\tleave\t2"), ": 1 judgement", id="repeated"),
        pytest.param(
            appended("queries.jsonl", '{"_id": "q9", "text": "a"}'), "1 of 4 queries have no relevant", id="unjudged"
        ),
        pytest.param(
            appended("queries.jsonl", '{"_id": "q4", "text": "a", "evidence": {"desk": [[2]]}}'),
            "1 of 4 queries have no relevant item",
            id="evidence-of-an-unjudged",
        ),
    ],
)
def test_what_has_no_counterpart_is_counted_in_a_warning(
    folder: Path, change: Callable[[Path], None], warning: str
) -> None:
    """The rest is measured."""
    change(folder)
    found = read(folder)
    assert any(warning in said for said in found.warnings), found.warnings
    assert len(found.queries) == 3


def test_evidence_whose_sentences_nobody_knows_is_left_out_and_said(folder: Path) -> None:
    """Without `ends` there is no telling where a sentence is."""
    (folder / "corpus.jsonl").unlink()
    found = read(folder)
    assert not found.queries[2].is_answerable
    assert "the `evidence` of 1 query names" in found.warnings[0]


def test_a_misspelt_key_of_a_query_is_told_once(folder: Path) -> None:
    """With what was meant; keys of somebody else's, and those beside the right one, are nobody's mistake."""
    with (folder / "queries.jsonl").open("a") as opened:
        for more in ('"answer": ["b"]', '"answer": ["c"]', '"Answreable": true', '"url": "u", "metadata": {}'):
            opened.write(f'{{"_id": "{more.encode().hex()}", "text": "x", {more}}}\n')
        opened.write('{"_id": "both", "text": "x", "answers": ["b"], "answer": "b"}\n')
    told = [warning for warning in read(folder).warnings if "nothing reads" in warning]
    assert len(told) == 2
    assert "nothing reads 'answer', did you mean 'answers'?" in told[0]
    assert "nothing reads 'Answreable', did you mean 'answerable'?" in told[1]

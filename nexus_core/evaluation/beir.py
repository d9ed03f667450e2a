"""Reads the files of a collection in BEIR layout: corpus.jsonl, queries.jsonl and qrels.tsv."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Item
from nexus_core.evaluation.collection import Alternatives, JudgedCollection, Judgements, Query, match_items
from nexus_core.toolkit.suggest import counted, did_you_mean

HEADER = ("query-id", "corpus-id", "score")
_SHAPES = {
    "corpus": '{"_id": "...", "title": "...", "text": "..."}',
    "queries": '{"_id": "...", "text": "..."}',
}
_OF_QUERIES = ("answers", "answerable", "evidence")
_KNOWN = frozenset(("_id", "text", *_OF_QUERIES))
_Read = TypeVar("_Read")


@frozen(kw_only=True)
class BeirFiles:
    """Where the parts of a collection are."""

    queries: Path
    qrels: Path
    corpus: Path | None = None
    name: str = ""

    @classmethod
    def of_folder(cls, folder: Path) -> BeirFiles:
        """Return the files of a folder in BEIR layout; the qrels may be in `qrels/test.tsv`, as BEIR has them."""
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder}: a collection is one with queries.jsonl and qrels.tsv")
        qrels, corpus = folder / "qrels.tsv", folder / "corpus.jsonl"
        if not qrels.exists() and (folder / "qrels" / "test.tsv").exists():
            qrels = folder / "qrels" / "test.tsv"
        return cls(
            queries=folder / "queries.jsonl",
            qrels=qrels,
            corpus=corpus if corpus.exists() else None,
            name=folder.resolve().name,
        )


def read_collection(files: BeirFiles, *, kind: str = "text", with_items: bool = True) -> JudgedCollection:
    """Read a collection; raises UsageError with file and line of what is wrong.

    `kind` is that of the items that do not say theirs. Without `with_items` they are left to the pipelines' sources,
    and of the corpus, if there is one, only the places where sentences end are used.
    """
    slips: dict[str, _At] = {}
    queries = _by_id(files.queries, "queries", lambda row, at: _query(row, at, slips))
    if not queries:
        raise UsageError(f"{files.queries} holds no queries: give one JSON object per line, {_SHAPES['queries']}")
    judged, warnings = _judgements(files.qrels)
    corpus = {} if files.corpus is None else _by_id(files.corpus, "corpus", lambda row, at: _item(row, at, kind))
    if files.corpus is not None and not corpus:
        raise UsageError(f"{files.corpus} holds no items: give one JSON object per line, {_SHAPES['corpus']}")
    collection = JudgedCollection(
        name=files.name or files.queries.resolve().parent.name,
        queries=tuple(queries.values()),
        relevant={},
        items=tuple(item for item, _ in corpus.values()) if with_items else None,
        ends={item.id: ends for item, ends in corpus.values() if ends},
    )
    warnings += [
        f"{at.file}:{at.line}: nothing reads {key!r}{did_you_mean(key, _OF_QUERIES)}" for key, at in slips.items()
    ]
    return match_items(collection, judged, corpus or None, warnings)


# JSON Lines


@frozen
class _At:
    """A line of a file, for messages."""

    file: Path
    line: int

    def wrong(self, what: str) -> UsageError:
        return UsageError(f"{self.file}:{self.line}: {what}")


def _lines(file: Path) -> Iterator[tuple[_At, str]]:
    """Yield the lines that are not blank."""
    try:
        # Not universal: a text may hold the other characters that Python takes for the end of a line.
        for number, line in enumerate(file.read_bytes().decode("utf-8-sig").split("\n"), 1):
            if line.strip():
                yield _At(file, number), line.removesuffix("\r")
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        raise UsageError(f"cannot read {file}: {reason}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8: byte {error.start:,} cannot be read") from error


def _by_id(file: Path, what: str, read: Callable[[Mapping[str, Any], _At], _Read]) -> dict[str, _Read]:
    """Return what the lines of a file say, by id."""
    found: dict[str, _Read] = {}
    first: dict[str, int] = {}
    for at, line in _lines(file):
        row = _object(line, at, what)
        name = row["_id"]
        if name in found:
            raise at.wrong(f"the id {name!r} is that of line {first[name]} already: ids must be unique")
        found[name], first[name] = read(row, at), at.line
    return found


def _object(line: str, at: _At, what: str) -> dict[str, Any]:
    expected = f"each line of the {what} is a JSON object such as {_SHAPES[what]}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise at.wrong(f"not JSON ({error}); {expected}") from error
    if not isinstance(row, dict):
        raise at.wrong(f"not a JSON object; {expected}")
    for key in ("_id", "text"):
        if not isinstance(row.get(key), str):
            raise at.wrong(f"{key!r} is missing or no text; {expected}")
    return row


def _query(row: Mapping[str, Any], at: _At, slips: dict[str, _At]) -> Query:
    """Return a query, and note where a key that looks misspelt is first; other keys are somebody else's."""
    for key in sorted(row.keys() - _KNOWN):
        close = get_close_matches(key.lower(), _OF_QUERIES, n=1, cutoff=0.8)
        if close and close[0] not in row:
            slips.setdefault(key, at)
    if not row["text"].strip():
        raise at.wrong(f"the query {row['_id']!r} is empty: give it a text or leave the line out")
    answers, evidence = _answers(row, at), _evidence(row, at)
    answerable = _answerable(row, answers, evidence, at)
    return Query(id=row["_id"], text=row["text"], answers=answers, evidence=evidence, answerable=answerable)


def _answers(row: Mapping[str, Any], at: _At) -> tuple[str, ...]:
    answers = row.get("answers") or []
    if not isinstance(answers, list) or not all(isinstance(answer, str) and answer for answer in answers):
        raise at.wrong("'answers' must be a list of texts, none of them empty")
    return tuple(answers)


def _answerable(
    row: Mapping[str, Any], answers: Sequence[str], evidence: Mapping[str, Alternatives], at: _At
) -> bool | None:
    """Return what a line says of it: `answerable`, else its answers; an empty list of them says that there is none."""
    said = row.get("answerable")
    if said is not None:
        if not isinstance(said, bool):
            raise at.wrong("'answerable' must be true or false")
        if not said and answers:
            raise at.wrong("'answerable' is false, and there are 'answers': leave one of them out")
        return said
    if answers:
        return True
    return False if row.get("answers") == [] and not evidence else None


def _evidence(row: Mapping[str, Any], at: _At) -> Mapping[str, Alternatives]:
    evidence = row.get("evidence") or {}
    if not isinstance(evidence, dict) or not all(map(_are_alternatives, evidence.values())):
        raise at.wrong(
            "'evidence' must map ids of items to alternatives, each a list of numbers of sentences from 0, as in "
            '{"id": [[0, 2], [5]]}'
        )
    return evidence


def _are_alternatives(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(chosen, list) and _are_places(chosen) for chosen in value)
    )


def _are_places(value: list[object]) -> bool:
    return bool(value) and all(type(number) is int and number >= 0 for number in value)


def _item(row: Mapping[str, Any], at: _At, kind: str) -> tuple[Item, tuple[int, ...]]:
    """Return an item, and where its sentences end."""
    ends = row.get("ends") or []
    if not isinstance(ends, list) or (ends and not _are_places(ends)):
        raise at.wrong("'ends' must be a list of places in the text, where its sentences end")
    texts = {key: row.get(key) or default for key, default in (("title", ""), ("kind", kind), ("source", ""))}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise at.wrong(f"{key!r} must be a text")
    tags, metadata = row.get("tags") or [], row.get("metadata") or {}
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise at.wrong("'tags' must be a list of texts")
    if not isinstance(metadata, dict):
        raise at.wrong("'metadata' must be an object")
    title, kind, source = texts["title"], texts["kind"], texts["source"]
    item = Item(
        id=row["_id"], text=row["text"], title=title, kind=kind, source=source, tags=tuple(tags), metadata=metadata
    )
    return item, tuple(ends)


# The judgements


def _judgements(file: Path) -> tuple[Judgements, list[str]]:
    """Return the grades by query and item, and what is odd about them."""
    rows = _lines(file)
    at, header = next(rows, (_At(file, 1), ""))
    if tuple(header.strip().lower().split("\t")) != HEADER:
        if tuple(header.lower().split()) == HEADER:
            raise at.wrong("the columns are separated by spaces here: put tabs between them, in every line")
        raise at.wrong(
            f"the first line must be the header {' '.join(HEADER)!r}, separated by tabs, and is "
            f"{header[:60]!r}: add it (of TREC's four columns the second goes)"
        )
    judged: dict[str, dict[str, int]] = {}
    repeated = 0
    for at, line in rows:
        query, item, grade = _judgement(line, at)
        grades = judged.setdefault(query, {})
        if grades.get(item, grade) != grade:
            raise at.wrong(f"query {query!r} and item {item!r} are judged {grades[item]} above and {grade} here")
        repeated += item in grades
        grades[item] = grade
    if not judged:
        raise UsageError(f"{file} holds no judgements below its header: give lines of query-id, corpus-id and score")
    return judged, [f"twice in {file}: {counted(repeated, 'judgement')}"] if repeated else []


def _judgement(line: str, at: _At) -> tuple[str, str, int]:
    columns = line.split("\t")
    if len(columns) != len(HEADER):
        raise at.wrong(f"{counted(len(columns), 'column')} instead of three separated by tabs: {', '.join(HEADER)}")
    query, item, grade = (column.strip() for column in columns)
    try:
        number = float(grade)
        if number != int(number):
            raise ValueError(grade)
    except (ValueError, OverflowError) as error:
        raise at.wrong(f"the score {grade!r} is no whole number") from error
    return query, item, int(number)

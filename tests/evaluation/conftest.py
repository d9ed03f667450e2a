"""A small collection of our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CORPUS = [
    {
        "_id": "leave",
        "title": "Leave",
        "text": "Everybody has 28 days of leave. Five may be carried over.",
        "ends": [31, 57],
    },
    {"_id": "travel", "title": "Travel", "text": "Trains are booked in second class.", "ends": [34]},
    {"_id": "desk", "title": "Desks", "text": "Desks can be raised. Ask the office.", "ends": [20, 36]},
    {"_id": "badge", "title": "Badges", "text": "A lost badge is reported to the office.", "ends": [39]},
]
QUERIES = [
    {"_id": "q1", "text": "How many days of leave are there?", "answers": ["28 days"]},
    {"_id": "q2", "text": "Which class are trains booked in?", "answers": ["second class"]},
    {"_id": "q3", "text": "Who is told of a lost badge?", "evidence": {"badge": [[0]]}},
]
QRELS = [("q1", "leave", 2), ("q1", "desk", 0), ("q2", "travel", 1), ("q3", "badge", 1), ("q3", "desk", 1)]


def write_collection(folder: Path) -> Path:
    """Write the collection into a folder, in BEIR layout."""
    folder.mkdir(exist_ok=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CORPUS))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUERIES))
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in QRELS)]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The collection, as files."""
    return write_collection(tmp_path / "office")

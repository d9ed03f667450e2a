"""The source `jsonl`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings, strategies as st
from nexus_jsonl.records import Fields, read
from nexus_jsonl.source import JsonlSource

from nexus_core import Item, RunContext, SourceError
from nexus_core.contract.components import component_name


def source(folder: Path, *lines: Any, **options: Any) -> JsonlSource:
    """Write lines, text as it is and everything else as JSON, and return a source that reads them."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "corpus.jsonl").write_text("\n".join(texts) + "\n", "utf-8")
    made = JsonlSource(path="corpus.jsonl", **options)
    made.base_dir = str(folder)
    return made


async def gathered(made: JsonlSource) -> tuple[Item, ...]:
    items = await made.gather("", RunContext())
    assert isinstance(items, tuple)
    return items


async def test_a_beir_corpus_is_read_as_it_is(tmp_path: Path) -> None:
    """`_id`, title and text are known; keys that nothing uses become metadata."""
    line = {"_id": "d1", "title": "Bees", "text": "They dance.", "metadata": {"year": 1967}, "journal": "J"}
    (item,) = await gathered(source(tmp_path, line, ""))
    assert (item.id, item.title, item.text, item.source) == ("d1", "Bees", "They dance.", "corpus.jsonl:1")
    assert item.metadata == {"year": 1967, "journal": "J"}


async def test_fields_name_the_keys(tmp_path: Path) -> None:
    """Keys may have other names, and a dot leads into an object inside."""
    fields = Fields(id="nr", title="meta.headline", text="body", tags="topics", source="url")
    line = {"nr": 7, "meta": {"headline": "H"}, "body": "B", "topics": ["a", 2], "url": "https://example.org"}
    (item,) = await gathered(source(tmp_path, line, fields=fields))
    assert (item.id, item.title, item.text) == ("7", "H", "B")
    assert (item.tags, item.source, item.metadata) == (("a", "2"), "https://example.org", {})


async def test_lines_without_id_are_known_by_their_number(tmp_path: Path) -> None:
    """The number is that of the line in the file."""
    items = await gathered(source(tmp_path, {"text": "a"}, "", {"text": "b", "kind": "code", "tags": "x"}))
    assert [item.id for item in items] == ["corpus.jsonl:1", "corpus.jsonl:3"]
    assert (items[1].kind, items[1].tags) == ("code", ("x",))


BAD = {
    "no JSON": ("{text: 1}", "is no JSON"),
    "no object": ("[1]", "must be an object, not a list"),
    "other key": ('{"txt": "x"}', "has no 'text', did you mean 'txt'? (it has txt)"),
    "null": ('{"text": null}', "has no text: its 'text' is null; left out"),
    "no key": ("{}", "has no 'text' (it has nothing)"),
    "text is a list": ('{"text": ["x"]}', "its 'text' must be a text, not a list"),
    "not UTF-8": ('{"text": "\udcff"}', "is no JSON"),
}


@pytest.mark.parametrize(("line", "reason"), BAD.values(), ids=BAD.keys())
async def test_a_line_that_is_no_item_is_an_error_with_its_place(line: str, reason: str, tmp_path: Path) -> None:
    """The message says file, line and reason."""
    made = source(tmp_path, {"text": "fine"})
    with (tmp_path / "corpus.jsonl").open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(SourceError, match=re.escape(f"jsonl: corpus.jsonl:2: {reason}")):
        await made.gather("", RunContext())


async def test_bad_lines_are_reported_where_the_pipeline_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With `on_problem: report` the rest is read, and each problem told once."""
    made = source(tmp_path, {"text": "fine"}, "nope", on_problem="report")
    assert len(await gathered(made)) == len(await gathered(made)) == 1
    assert made.problems == ("corpus.jsonl:2: is no JSON (invalid literal, expected 'null')",)
    assert [record.message for record in caplog.records] == list(made.problems)


async def test_an_array_is_told_from_lines(tmp_path: Path) -> None:
    """The commonest mistake gets its own advice."""
    with pytest.raises(SourceError, match="write one object a line, without brackets"):
        await source(tmp_path, "[", '{"text": "a"},', "]").gather("", RunContext())


async def test_many_bad_lines_make_a_short_message(tmp_path: Path) -> None:
    """The first few lines stand for all."""
    with pytest.raises(SourceError, match="lines that are no item: 500") as caught:
        await source(tmp_path, *["x"] * 500).gather("", RunContext())
    assert len(str(caught.value)) < 1000


async def test_repeated_and_empty_lines_are_left_out_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first of two lines with one id holds; neither is an error, in either mode."""
    made = source(tmp_path, {"_id": 1, "text": "a"}, {"_id": "1", "text": "b"}, {"_id": 2, "title": "", "text": " "})
    assert [item.text for item in await gathered(made)] == ["a"]
    assert made.problems == (
        "corpus.jsonl:2: has the id '1' of line 1; left out",
        "corpus.jsonl:3: is empty; left out",
    )
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_lines_are_read_by_the_letter_of_json(tmp_path: Path) -> None:
    """Numbers of any length are; half a surrogate pair and NaN are not; other line ends than LF are text."""
    digits = "9" * 400
    lines = [
        '\ufeff{"id": "a", "text": "one\u2028two"}\r',
        '{"id": "b", "text": "x", "m": 12345678901234567890123, "o": 1e999, "n": ' + digits + "}",
        '{"id": "c", "text": "lone \\ud83d"}',
        '{"id": "d", "text": "x", "n": NaN}',
        '{"id": "e", "text": "lone \\ud83d", "n": ' + digits + "}",
        '{"id": "f", "text": "old", "text": "new: \\"a\\": 1"}',
        '{"id": "g", "text": "no \\"key\\": twice", "deep": {"id": 1, "text": 2}}',
    ]
    made = source(tmp_path, *lines, on_problem="report")
    items = await gathered(made)
    assert [item.id for item in items] == ["a", "b", "f", "g"]
    assert (items[0].text, items[2].text) == ("one\u2028two", 'new: "a": 1')
    assert items[1].metadata == {"n": digits, "m": "12345678901234567890123", "o": "1e999"}
    assert [problem.split(": ")[0] for problem in made.problems] == [f"corpus.jsonl:{n}" for n in (3, 4, 5, 6)]
    assert "has the key 'text' more than once; the last one holds" in made.problems[3]


async def test_the_same_tuple_comes_back_while_the_file_is_the_same(tmp_path: Path) -> None:
    """Also when it is read again since it has just been written."""
    made = source(tmp_path, {"text": "a"})
    first = await gathered(made)
    assert await gathered(made) is first
    os.utime(tmp_path / "corpus.jsonl")
    assert await gathered(made) is first


async def test_a_change_is_seen(tmp_path: Path) -> None:
    """Even one of the same length, right after the file was read."""
    made = source(tmp_path, {"text": "one"})
    await gathered(made)
    source(tmp_path, {"text": "two"})
    assert [item.text for item in await gathered(made)] == ["two"]


@pytest.mark.slow
async def test_a_large_file_is_read_beside_the_event_loop(tmp_path: Path) -> None:
    """Once for all who ask meanwhile."""
    made = source(tmp_path, *[{"text": "word " * 40}] * 4000)
    first, second = await asyncio.gather(made.gather("", RunContext()), made.gather("", RunContext()))
    assert first is second
    assert len(first) == 4000


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("corpus.jsonn", "cannot be read (No such file or directory), did you mean 'corpus.jsonl'?"),
        ("data/corpus.jsonl", "where corpus.jsonl should be"),
    ],
    ids=["file", "folder"],
)
async def test_a_missing_file_is_named_with_what_is_close(path: str, reason: str, tmp_path: Path) -> None:
    """The message says where it was looked for."""
    made = source(tmp_path, {"text": "a"})
    made.path = path
    with pytest.raises(SourceError, match=re.escape(reason)) as caught:
        await made.gather("", RunContext())
    assert str(tmp_path) in str(caught.value)


async def test_a_file_without_any_object_is_an_error(tmp_path: Path) -> None:
    """A source never yields nothing in silence."""
    with pytest.raises(SourceError, match="holds no line with an object"):
        await source(tmp_path, "").gather("", RunContext())


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "_id", "text", "title", "tags", "metadata", "x"]), inner, max_size=4), max_leaves=6)  # fmt: skip # noqa: E501


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(JSON, max_size=5))
def test_every_line_is_an_item_or_a_problem(values: list[Any]) -> None:
    """Whatever the JSON, nothing is lost and nothing is raised."""
    lines = [json.dumps(value).encode() for value in values]
    reading = read(lines, "f", Fields())
    assert len(reading.items) + len(reading.bad) + len(reading.left_out) == len(lines)
    assert all(orjson.dumps(dict(item.metadata), default=None) for item in reading.items)


def test_the_source_and_the_sink_share_the_name() -> None:
    """`use: jsonl` means either, by its place."""
    assert component_name(JsonlSource) == "jsonl"

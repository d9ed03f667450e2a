"""Files of conversations: JSON Lines as `nexus conversations export` prints them, and Markdown as the page saves it.

Both are read whole before anything is kept, and what is wrong is told with its line. In Markdown the parts stand after
comments with a mark that each file has for itself, so that no text of an answer can be taken for a part.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any, cast

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Value
from nexus_core.store.conversations.cited_passages import (
    MOST_FILES,
    MOST_PASSAGES,
    NAME_CHARACTERS,
    PASSAGE_CHARACTERS,
)
from nexus_core.store.conversations.conversation import COMMENT_CHARACTERS, TITLE_CHARACTERS, CitedPassage, Rating
from nexus_core.store.records import checked_name

FILE_BYTES = 32 * 2**20
"""Of one file."""
FILE_TURNS = 20_000
"""Of one file: they are kept in one transaction."""
_QUERY, _ANSWER, _NAME = 2**20, 4 * 2**20, 500
"""Characters of a question, of an answer, and of the id of a run or the name of a model."""
_HEAD = re.compile(r"<!-- nexus-conversation ([0-9a-f]{16,64}) (\{.*\}) -->\r?\n")
_EXPECTED = "give JSON Lines as `nexus conversations export` prints them, or Markdown as the page saves a conversation"


class ConversationFileError(UsageError):
    """A file is none of conversations: `why` says what is wrong and where, in words that its sender may read."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@frozen(kw_only=True, eq=False, repr=False)
class ImportedTurn(Value):
    """A turn as a file has it."""

    run_id: str
    query: str
    answer: str
    model: str
    time: float | None
    """In seconds since the epoch; `None` where the file does not tell."""
    rating: Rating | None
    comment: str | None
    context: str | None = None
    """The context that was searched, where the file tells."""
    passages: tuple[CitedPassage, ...] = ()
    """Those that the answer cites."""
    files: tuple[str, ...] = ()
    """The names of those that the question was about."""


@frozen(kw_only=True, eq=False, repr=False)
class ImportedConversation(Value):
    """A conversation as a file has it."""

    owner: str
    """Whose it was."""
    id: str
    title: str | None
    turns: tuple[ImportedTurn, ...]


def read_conversations(data: bytes) -> tuple[ImportedConversation, ...]:
    """Return the conversations of a file; raises ConversationFileError for what is none, or is too large."""
    if len(data) > FILE_BYTES:
        raise ConversationFileError(f"the file has {len(data):,} bytes, of {FILE_BYTES:,} at most: import it in parts")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConversationFileError(f"the file is no text in UTF-8 (byte {error.start:,}): {_EXPECTED}") from error
    if not text.strip():
        raise ConversationFileError(f"the file is empty: {_EXPECTED}")
    lines = _markdown_lines(text) if text.lstrip().startswith("<!--") else _json_lines(text)
    found: dict[tuple[str, str], tuple[str | None, dict[str, ImportedTurn]]] = {}
    for count, (where, line) in enumerate(lines, 1):
        if count > FILE_TURNS:
            raise ConversationFileError(f"{where}: the file has more than {FILE_TURNS:,} turns: import it in parts")
        owner, id, title, turn = _read_line(where, line)
        _, turns = found.setdefault((owner, id), (title, {}))
        if turn.run_id in turns:
            raise ConversationFileError(f"{where}: the turn {turn.run_id[:80]!r} is there twice: leave one out")
        turns[turn.run_id] = turn
    return tuple(
        ImportedConversation(owner=owner, id=id, title=title, turns=tuple(turns.values()))
        for (owner, id), (title, turns) in found.items()
    )


def _json_lines(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield where each line stands, and the object that it is."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number:,}", _object(f"line {number:,}", line)


def _object(where: str, text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConversationFileError(f"{where} is no JSON: {_EXPECTED}") from error
    if not isinstance(found, dict):
        raise ConversationFileError(f"{where} is no JSON object: {_EXPECTED}")
    return found


def _markdown_lines(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield where each turn stands, and what a line of JSON would say of it."""
    head = _HEAD.match(text.lstrip())
    if head is None:
        raise ConversationFileError(f"line 1 has no mark of a conversation that the page saved: {_EXPECTED}")
    mark, about = head[1], _object("line 1", head[2])
    # The head of a turn and its answer; before the first stands the title, and after an answer what it cites, both for
    # those who read the file: the head has the passages, too.
    parts = re.split(rf"^<!-- {mark} (\{{.*\}}|answer|sources) -->\r?\n", text, flags=re.MULTILINE)
    number = parts[0].count("\n") + 1
    place = 1
    while place < len(parts):
        where = f"line {number:,}"
        if not parts[place].startswith("{") or parts[place + 2 : place + 3] != ["answer"]:
            raise ConversationFileError(f"{where}: a question and its answer are no pair any more: save it again")
        query, answer = parts[place + 1], parts[place + 3]
        told = {"text": _without_end(query.removeprefix("## "), 2), "response": _without_end(answer, 2)}
        yield where, {**about, **_object(where, parts[place]), **told}
        number += query.count("\n") + answer.count("\n") + 2
        place += 4
        if parts[place : place + 1] == ["sources"]:
            number += parts[place + 1].count("\n") + 1
            place += 2
    if len(parts) == 1:
        raise ConversationFileError(f"the file has no turn: {_EXPECTED}")


def _without_end(text: str, lines: int) -> str:
    """Return a part without the ends of lines that set it apart from the next one, which an editor may have changed."""
    return re.sub(rf"(?:\r?\n){{1,{lines}}}\Z", "", text)


def _read_line(where: str, line: Mapping[str, Any]) -> tuple[str, str, str | None, ImportedTurn]:
    """Return owner, id and title of the conversation of a turn, and the turn; raises ConversationFileError."""
    owner, id = _text(where, line, "owner", _NAME, ""), _text(where, line, "conversation", _NAME)
    try:
        checked_name(id, "the id of a conversation")
        if owner:
            checked_name(owner, "the owner of a conversation")
    except UsageError as error:
        raise ConversationFileError(f"{where}: `conversation` and `owner` are names without control characters") from (
            error
        )
    run_id = _text(where, line, "_id", _NAME)
    if not run_id.strip():
        raise ConversationFileError(f"{where}: `_id` is empty: it names the turn")
    rating = line.get("rating")
    if rating not in ("up", "down", None):
        raise ConversationFileError(f"{where}: `rating` is 'up', 'down' or null")
    title = _text(where, line, "title", TITLE_CHARACTERS, "").strip() or None
    comment = _text(where, line, "comment", COMMENT_CHARACTERS, "") or None
    return owner, id, title, ImportedTurn(
        run_id=run_id,
        query=_text(where, line, "text", _QUERY),
        answer=_text(where, line, "response", _ANSWER),
        model=_text(where, line, "model", _NAME, ""),
        time=_time(where, line.get("time")),
        rating=cast("Rating | None", rating),
        comment=comment if rating else None,
        context=_text(where, line, "context", _NAME, "") or None,
        passages=_passages(where, line.get("passages")),
        files=_file_names(where, line.get("files")),
    )  # fmt: skip


def _file_names(where: str, told: object) -> tuple[str, ...]:
    """Return the names of the files that a question was about; raises ConversationFileError."""
    names = [] if told is None else told
    if not isinstance(names, list) or len(names) > MOST_FILES:
        raise ConversationFileError(f"{where}: `files` is a list of {MOST_FILES} names at most")
    return tuple(_text(where, {"files": name}, "files", NAME_CHARACTERS) for name in names)


def _passages(where: str, told: object) -> tuple[CitedPassage, ...]:
    """Return the passages that an answer cites, as the file has them; raises ConversationFileError."""
    if told is None:
        return ()
    if not isinstance(told, list) or len(told) > MOST_PASSAGES or not all(isinstance(each, dict) for each in told):
        raise ConversationFileError(f"{where}: `passages` is a list of {MOST_PASSAGES} objects at most")
    found = []
    for each in told:
        number, relevance, whole = each.get("number"), each.get("relevance", 0.0), each.get("whole", False)
        numbers = isinstance(number, int) and isinstance(relevance, int | float) and isfinite(relevance)
        if not numbers or isinstance(number, bool) or not 0 < number < 10_000 or not isinstance(whole, bool):
            raise ConversationFileError(f"{where}: a passage has a `number` from 1, a `relevance`, and `whole`, or not")
        texts = {name: _text(where, each, name, NAME_CHARACTERS, "") for name in ("id", "title", "source", "place")}
        text = _text(where, each, "text", PASSAGE_CHARACTERS)
        found.append(CitedPassage(number=number, relevance=float(relevance), whole=whole, text=text, **texts))
    return tuple(found)


def _text(where: str, line: Mapping[str, Any], name: str, longest: int, default: str | None = None) -> str:
    value = line.get(name)
    if value is None:
        value = default
    if value is None:
        raise ConversationFileError(f"{where} has no `{name}`: {_EXPECTED}")
    if not isinstance(value, str):
        raise ConversationFileError(f"{where}: `{name}` is no text")
    if len(value) > longest:
        raise ConversationFileError(f"{where}: `{name}` has {len(value):,} characters, of {longest:,} at most")
    return value


def _time(where: str, value: object) -> float | None:
    """Return the seconds since the epoch that a time names, as in `2026-11-23T10:00:00+00:00`."""
    if value is None:
        return None
    try:
        told = datetime.fromisoformat(value) if isinstance(value, str) else None
        seconds = None if told is None else (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        seconds = None
    if seconds is None or seconds < 0:
        raise ConversationFileError(f"{where}: `time` is no time since 1970, as in 2026-11-23T10:00:00+00:00")
    return seconds

"""Turns of conversations in batches: what of the journal is read for them, what is kept of them, and what is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from attrs import evolve

from nexus_core.batch.concurrency import AdaptiveConcurrency
from nexus_core.batch.control import BatchControl
from nexus_core.batch.conversation_turns import ConversationTurns
from nexus_core.batch.journal import Journal
from nexus_core.batch.records import BatchRecord
from nexus_core.batch.results import RecordResult, RecordState
from tests.batch.conftest import Service, batch, results, write_pipeline, write_questions


class CountingJournal(Journal):
    """A journal that counts how many records are read as turns of conversations."""

    read = 0

    def turns(self, conversation: str, before: int) -> Iterator[tuple[RecordState, str, str]]:
        """Yield the turns, and count them."""
        for row in super().turns(conversation, before):
            self.read += 1
            yield row


def journal_of(folder: Path, conversations: Sequence[str]) -> CountingJournal:
    """Return a journal with a record of each of these conversations, in their order."""
    journal = CountingJournal.create(folder / "journal.sqlite")
    rows = enumerate(conversations)
    journal.add((line, BatchRecord(id=f"r{line}", query=f"q{line:04d}", conversation=c), None) for line, c in rows)
    return journal


def answered(query: str) -> RecordResult:
    """Return the result of a record whose answer is as long as its query."""
    return RecordResult(state="done", result=f'{{"answer":"a{query[1:]}"}}', timings="{}")


async def run(journal: Journal, most: int = -1, characters: int = 10**6) -> tuple[list[tuple[str, ...]], int]:
    """Answer records, `most` of them at most; returns the histories that they had, and the longest of them."""
    control = BatchControl(journal, AdaptiveConcurrency(8), history_characters=characters)
    histories: list[tuple[str, ...]] = []
    while len(histories) != most and (task := await control.next()) is not None:
        histories.append(tuple(message.text for message in task.history))
        control.finish(task, answered(task.record.query))
    journal.commit()
    return histories, max(map(len, histories))


@pytest.mark.parametrize("names", ["c", "xyz"], ids=["one conversation", "three in turns"])
async def test_no_turn_of_a_conversation_is_read_again(tmp_path: Path, names: str) -> None:
    """Each record of thousands has all those before it as its history, and none is read for it."""
    journal = journal_of(tmp_path, [names[line % len(names)] for line in range(2000)])
    histories, longest = await run(journal)
    assert (len(histories), journal.read) == (2000, 0)
    assert longest == 2 * (-(-2000 // len(names)) - 1)
    assert histories[3 * len(names)][:4] == ("q0000", "a0000", f"q{len(names):04d}", f"a{len(names):04d}")


async def test_a_resumed_conversation_is_read_once(tmp_path: Path) -> None:
    """A run that goes on reads each turn of the ones before it, and no turn twice."""
    journal = journal_of(tmp_path, ["c"] * 2000)
    await run(journal, 1500)
    histories, longest = await run(journal)
    assert (len(histories), longest, journal.read) == (500, 2 * 1999, 1500)


async def test_no_more_turns_are_read_and_kept_than_a_prompt_can_hold(tmp_path: Path) -> None:
    """Ten characters a turn, so that 95 are ten turns; a resumed run has the same histories."""
    journal = journal_of(tmp_path, ["c"] * 400)
    first, _ = await run(journal, 200, characters=95)
    then, longest = await run(journal, characters=95)
    assert (longest, journal.read) == (20, 10)
    assert [history[-20:] for history in [*first, *then]] == [
        tuple(text for n in range(max(0, line - 10), line) for text in (f"q{n:04d}", f"a{n:04d}"))
        for line in range(400)
    ]


async def test_turns_that_were_dropped_for_others_are_read_again(tmp_path: Path) -> None:
    """What is kept of all conversations together has an end, and none loses a turn by it."""
    journal = journal_of(tmp_path, "abcabcabc")
    turns = ConversationTurns(journal, 10**6, most_kept=3000)
    found = []
    for position, record in journal.pending(-1):
        assert record.conversation is not None
        history = turns.history(record.conversation, position)
        found.append(tuple(message.content for message in history or ()))
        result = answered(record.query)
        journal.finish(position, result.state, result.result, result.timings)
        turns.add(record.conversation, position, record.query, result)
    assert found[-1] == ("q0002", "a0002", "q0005", "a0005")
    assert journal.read == 3 + 2 * 3


async def test_a_conversation_with_a_gap_has_no_turns_any_more(tmp_path: Path) -> None:
    """Whoever follows a failure fails without a look into the journal."""
    journal = journal_of(tmp_path, "ccc")
    turns = ConversationTurns(journal, 10**6)
    assert turns.history("c", 0) == ()
    turns.add("c", 0, "q0000", evolve(answered("q0000"), state="failed"))
    assert (turns.history("c", 1), turns.history("c", 2), journal.read) == (None, None, 0)


async def test_a_batch_that_is_resumed_asks_what_one_in_one_go_asks(tmp_path: Path, service: Service) -> None:
    """Also where the window holds but some of the turns."""
    write_pipeline(tmp_path, service.url)
    talk = [{"id": f"{n}", "query": f"{n} {'word ' * 20}", "conversation": "c"} for n in range(12)]
    write_questions(tmp_path / "q.jsonl", talk)
    window = ("--set", "models.main.window=300")
    assert (await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl", *window))[0] == 0
    asked, service.seen = service.seen, []
    service.behave = lambda query, time: (401 if query.startswith("7") and time == 1 else 200, {})
    assert (await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "b.jsonl", *window))[0] == 1
    assert (await batch(tmp_path, "resume", "b.jsonl.run"))[0] == 0
    assert (service.seen[:8], service.seen[8:]) == (asked[:8], asked[7:])
    assert results(tmp_path / "a.jsonl") == results(tmp_path / "b.jsonl")
    assert 300 < max(map(len, asked)) < sum(len(each["query"]) for each in talk)

"""Batches among damage: what cannot be written or read costs no result, and says what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nexus_core import StoreError
from nexus_core.batch.journal import Journal, RequestUsage
from nexus_core.batch.records import BatchRecord
from nexus_core.contract.errors import StoreDamagedError
from tests.batch.conftest import Service, batch, results, start, write_pipeline, write_questions

RECORDS = [(n + 1, BatchRecord(id=f"r{n}", query=f"q{n}"), None) for n in range(4)]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Return the journal of a new batch of four records."""
    made = Journal.create(tmp_path / "journal.sqlite")
    made.add(RECORDS)
    return made


async def test_a_request_is_in_the_file_before_it_may_go(journal: Journal, tmp_path: Path) -> None:
    """Another process sees it, and those of one turn of the loop share a commit."""
    numbers = await asyncio.gather(*(journal.begin_request(n, "main", "send_prompt", 10, None) for n in range(3)))
    assert numbers == [1, 2, 3]
    other = Journal.open(tmp_path / "journal.sqlite", writes=False)
    assert (other.totals().requests, other.totals().unknown_tokens) == (3, 30)
    other.close()
    journal.close()


async def test_a_result_is_kept_once(journal: Journal) -> None:
    """Who comes second with one is not heard, and failed ones can be reopened."""
    journal.finish(0, "done", '{"answer":"first"}', "{}")
    journal.finish(0, "failed", '{"answer":null}', "{}", "error")
    journal.finish(1, "failed", '{"answer":null}', "{}", "error")
    assert [result for *_, result, _ in journal.results()][:2] == ['{"answer":"first"}', '{"answer":null}']
    assert journal.reopen() == 1
    assert [position for position, _ in journal.pending(-1)] == [1, 2, 3]
    journal.close()


async def test_what_cannot_be_written_is_tried_again(journal: Journal, tmp_path: Path) -> None:
    """A full disk refuses the next request, and the results that were paid for are written once there is room."""
    connection = journal._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    number = await journal.begin_request(0, "main", "send_prompt", 10, None)
    connection.execute(f"PRAGMA max_page_count = {pages}")
    journal.finish(0, "done", '{"answer":"' + "long " * 20_000 + '"}', "{}")
    journal.end_request(number, RequestUsage(state="ok", prompt_tokens=3, completion_tokens=4))
    with pytest.raises(StoreError, match="cannot be written"):
        await journal.begin_request(1, "main", "send_prompt", 10, None)
    connection.execute("PRAGMA max_page_count = 1000000")
    totals = journal.totals()
    assert (totals.done, totals.tokens) == (1, 7)
    journal.close()


def test_a_damaged_journal_is_told_as_such(journal: Journal, tmp_path: Path) -> None:
    """One that was cut, and one that is something else; nothing of it is changed."""
    journal.close()
    path = tmp_path / "journal.sqlite"
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"something else\n" * 1000, b""):
        path.write_bytes(broken)
        with pytest.raises(StoreDamagedError, match="cannot be read"):
            Journal.open(path, writes=True)
        assert path.read_bytes() == broken


@pytest.mark.slow
async def test_a_folder_of_a_batch_that_never_began_is_taken(tmp_path: Path, service: Service) -> None:
    """Killed while the input was read, it leaves a journal without a manifest; what is somebody's own stays."""
    write_pipeline(tmp_path, service.url)
    write_questions(tmp_path / "q.jsonl", ({"query": f"question {n}"} for n in range(5)))
    folder = tmp_path / "a.jsonl.run"
    folder.mkdir()
    Journal.create(folder / "journal.sqlite").close()
    (folder / "lock").touch()
    assert (await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl"))[0] == 0
    assert len(results(tmp_path / "a.jsonl")) == 5
    (tmp_path / "b.jsonl.run").mkdir()
    (tmp_path / "b.jsonl.run" / "mine").touch()
    code, _, err = await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "b.jsonl")
    assert (code, "holds something else" in err) == (2, True)


@pytest.mark.slow
async def test_a_second_interrupt_stops_at_once(tmp_path: Path, service: Service) -> None:
    """What is under way is left, and done again later; the first one would have waited for it."""
    write_pipeline(tmp_path, service.url)
    write_questions(tmp_path / "q.jsonl", ({"query": f"question {n}"} for n in range(5)))
    service.hold = asyncio.Event()
    process = await start(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl", "--max-concurrency", 2)
    await service.seen_above(1, process)
    process.terminate()
    assert process.stderr is not None
    await process.stderr.readuntil(b"again to stop at once")
    process.terminate()
    assert await process.wait() == 130
    service.hold.set()
    code, _, err = await batch(tmp_path, "resume", "a.jsonl.run")
    assert (code, "2 of them again" in err) == (0, True)
    assert len(service.seen) == 7

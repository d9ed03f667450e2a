"""`nexus batch` as its users meet it: a command over files, against a real service on loopback."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.batch.conftest import KEY, Service, batch, results, start, write_pipeline, write_questions

pytestmark = pytest.mark.slow


def questions(folder: Path, count: int, **more: object) -> Path:
    """Write an input of so many records."""
    return write_questions(
        folder / "q.jsonl", ({"id": f"q{n}", "query": f"question {n}", **more} for n in range(count))
    )


async def test_every_record_has_one_result_in_the_order_of_the_input(tmp_path: Path, service: Service) -> None:
    """The answer, what was asked for it and what it used, and nothing of times; the run folder is its owner's alone."""
    write_pipeline(tmp_path, service.url)
    service.delay_s = 0.01
    code, out, err = await batch(tmp_path, "batch.yaml", questions(tmp_path, 30), "-o", "a.jsonl")
    assert (code, out) == (0, "")
    assert "30 of 30 answered, 30 requests" in err
    found = results(tmp_path / "a.jsonl")
    assert [each["id"] for each in found] == [f"q{n}" for n in range(30)]
    assert all(each["answer"] == f"About question {n}" for n, each in enumerate(found))
    assert sum(each["usage"]["totalTokens"] for each in found) == service.bill
    assert {"durationMs", "callId"}.isdisjoint(found[0]["attempts"][0])
    assert service.most_open > 1
    folder = tmp_path / "a.jsonl.run"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
    assert not any(KEY.encode() in path.read_bytes() for path in folder.iterdir())


async def test_the_same_input_gives_the_same_bytes(tmp_path: Path, service: Service) -> None:
    """However many run at once; with --timings there are times, too."""
    write_pipeline(tmp_path, service.url)
    asked = questions(tmp_path, 12)
    await batch(tmp_path, "batch.yaml", asked, "-o", "a.jsonl", "--max-concurrency", 1)
    await batch(tmp_path, "batch.yaml", asked, "-o", "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    await batch(tmp_path, "batch.yaml", asked, "-o", "c.jsonl", "--timings")
    assert results(tmp_path / "c.jsonl")[0]["timings"]["attempts"][0]["durationMs"] >= 0


async def test_bad_lines_refuse_the_batch_before_any_call(tmp_path: Path, service: Service) -> None:
    """Each is told with its line; nothing is left behind; with --bad-lines fail they are failed records."""
    write_pipeline(tmp_path, service.url)
    lines = [
        '{"query": "a", "id": 1}',
        "not json",
        '{"qery": "b"}',
        '{"query": " "}',
        '{"query": "c", "inputs": {"x": 1}}',
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    code, _, err = await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl")
    assert code == 2
    assert [f"line {n}:" in err for n in range(1, 6)] == [False, True, True, True, True]
    assert "did you mean 'query'" in err
    assert (service.seen, (tmp_path / "a.jsonl.run").exists()) == ([], False)
    code, _, err = await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl", "--bad-lines", "fail")
    assert (code, service.seen) == (3, ["a"])
    assert [each["outcome"] for each in results(tmp_path / "a.jsonl")] == ["ok", *["failed"] * 4]


async def test_an_id_that_is_given_twice_is_told_with_both_lines(tmp_path: Path, service: Service) -> None:
    """Equal records without an id of their own are numbered instead."""
    write_pipeline(tmp_path, service.url)
    write_questions(tmp_path / "q.jsonl", [{"query": "a", "id": "x"}, {"query": "b"}, {"query": "c", "id": "x"}])
    code, _, err = await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl")
    assert (code, "lines 1 and 3 have the same id 'x'" in err, service.seen) == (2, True, [])
    write_questions(tmp_path / "q.jsonl", [{"query": "a"}] * 3)
    assert (await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl"))[0] == 0
    ids = [each["id"] for each in results(tmp_path / "a.jsonl")]
    assert ids[1:] == [f"{ids[0]}-2", f"{ids[0]}-3"]


async def test_a_poison_record_fails_alone_and_can_be_retried(tmp_path: Path, service: Service) -> None:
    """Exit code 3; `retry` asks for what failed and for nothing else."""
    write_pipeline(tmp_path, service.url)
    service.behave = lambda query, time: (400 if query == "question 3" and time == 1 else 200, {})
    code, _, err = await batch(tmp_path, "batch.yaml", questions(tmp_path, 8), "-o", "a.jsonl")
    assert (code, "1 failed (1 invalid_request)" in err) == (3, True)
    assert results(tmp_path / "a.jsonl")[3]["error"]["kind"] == "invalid_request"
    service.seen.clear()
    service.behave = lambda query, time: (200, {})
    code, _, _ = await batch(tmp_path, "retry", "a.jsonl.run")
    assert (code, service.seen) == (0, ["question 3"])
    assert [each["outcome"] for each in results(tmp_path / "a.jsonl")] == ["ok"] * 8


@pytest.mark.parametrize(("status", "most"), [(401, 4), (500, 24)])
async def test_a_failure_that_is_no_matter_of_records_stops_early(
    tmp_path: Path, service: Service, status: int, most: int
) -> None:
    """A bad key at once, a service that is down after 20 in a row; `resume` asks for all of them again."""
    write_pipeline(tmp_path, service.url, retry="false, breaker: false")
    service.behave = lambda query, time: (status, {})
    code, _, err = await batch(tmp_path, "batch.yaml", questions(tmp_path, 60), "-o", "a.jsonl")
    assert (code, "Stopped: " in err, "nexus batch resume a.jsonl.run" in err) == (1, True, True)
    assert 0 < len(service.seen) <= most
    assert not (tmp_path / "a.jsonl").exists()
    service.behave = lambda query, time: (200, {})
    assert (await batch(tmp_path, "resume", "a.jsonl.run"))[0] == 0
    assert [each["outcome"] for each in results(tmp_path / "a.jsonl")] == ["ok"] * 60


async def test_records_wait_while_a_breaker_is_open(tmp_path: Path, service: Service) -> None:
    """A service that comes back costs those records their answer that it was asked for, and no others."""
    write_pipeline(tmp_path, service.url)
    service.behave = lambda query, time: (500 if len(service.seen) <= 8 else 200, {})
    code, _, _ = await batch(tmp_path, "batch.yaml", questions(tmp_path, 40), "-o", "a.jsonl", "--max-concurrency", 4)
    outcomes = [each["outcome"] for each in results(tmp_path / "a.jsonl")]
    assert (code, outcomes.count("failed"), outcomes.count("ok")) == (3, 8, 32)
    assert len(service.seen) == 40


async def test_nothing_is_lost_or_paid_twice_when_it_is_killed(tmp_path: Path, service: Service) -> None:
    """Killed at random moments and resumed: each id once; every request has its row; the bill is between the sums."""
    write_pipeline(tmp_path, service.url)
    service.delay_s = 0.03
    asked, count = questions(tmp_path, 150), 150
    arguments: tuple[object, ...] = ("batch.yaml", asked, "-o", "a.jsonl", "--max-concurrency", 8)
    for round_ in range(5):
        process = await start(tmp_path, *arguments)
        before = len(service.seen)
        await service.seen_above(before + 10 + 3 * round_, process)
        if process.returncode is None:
            process.kill()
        await process.wait()
        arguments = ("resume", "a.jsonl.run", "--max-concurrency", 8)
    code, _, err = await batch(tmp_path, *arguments)
    assert code == 0, err
    assert [each["id"] for each in results(tmp_path / "a.jsonl")] == [f"q{n}" for n in range(count)]
    assert len(service.seen) - count <= 5 * 8
    with closing(sqlite3.connect(tmp_path / "a.jsonl.run" / "journal.sqlite")) as journal:
        rows, known, most = journal.execute(
            "SELECT count(*), sum(CASE state WHEN 'ok' THEN prompt_tokens + completion_tokens ELSE 0 END),"
            " sum(CASE state WHEN 'unknown' THEN most_tokens ELSE 0 END) FROM requests"
        ).fetchone()
    assert rows >= len(service.seen)
    assert known <= service.bill <= known + most
    _, out, _ = await batch(tmp_path, "status", "a.jsonl.run", "--json")
    assert json.loads(out)["done"] == count


async def test_interrupting_finishes_what_is_under_way(tmp_path: Path, service: Service) -> None:
    """Exit code 130, nothing repeated when it goes on, and `export` gives what there is meanwhile."""
    write_pipeline(tmp_path, service.url)
    service.delay_s = 0.05
    process = await start(tmp_path, "batch.yaml", questions(tmp_path, 80), "-o", "a.jsonl", "--max-concurrency", 4)
    await service.seen_above(12, process)
    process.send_signal(signal.SIGINT)
    await process.wait()
    assert process.returncode == 130
    done = len(service.seen)
    code, _, err = await batch(tmp_path, "export", "a.jsonl.run", "-o", "part.jsonl")
    assert (code, f"{done} results of 80 records: " in err) == (0, True)
    outcomes = [each["outcome"] for each in results(tmp_path / "part.jsonl")]
    assert (outcomes.count("ok"), outcomes.count("pending")) == (done, 80 - done)
    assert (await batch(tmp_path, "resume", "a.jsonl.run"))[0] == 0
    assert len(service.seen) == 80


async def test_it_goes_on_only_with_what_it_was_begun_with(tmp_path: Path, service: Service) -> None:
    """A changed input or pipeline is named, exit code 4; a batch that runs is left alone, too."""
    pipeline = write_pipeline(tmp_path, service.url)
    asked = questions(tmp_path, 6)
    service.behave = lambda query, time: (401, {})
    await batch(tmp_path, "batch.yaml", asked, "-o", "a.jsonl")
    kept = asked.read_text(), pipeline.read_text()
    for path, text in zip((asked, pipeline), kept, strict=True):
        path.write_text(text + "\n")
        code, _, err = await batch(tmp_path, "resume", "a.jsonl.run")
        assert (code, f"{path} has changed" in err) == (4, True)
        path.write_text(text)
    service.behave, service.hold = (lambda query, time: (200, {})), asyncio.Event()
    process = await start(tmp_path, "resume", "a.jsonl.run")
    await service.seen_above(len(service.seen), process)
    assert (await batch(tmp_path, "resume", "a.jsonl.run"))[0] == 4
    service.hold.set()
    assert await process.wait() == 0


async def test_a_conversation_runs_in_order_with_its_turns(tmp_path: Path, service: Service) -> None:
    """Each record has the ones before it as its history; after one that failed the rest have no answer."""
    write_pipeline(tmp_path, service.url)
    talk = [{"id": f"{c}{n}", "query": f"{c}{n}", "conversation": c} for n in range(3) for c in "xy"]
    service.behave = lambda query, time: (400 if query.startswith("y1") else 200, {})
    write_questions(tmp_path / "q.jsonl", talk)
    code, _, _ = await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl")
    found = {each["id"]: each for each in results(tmp_path / "a.jsonl")}
    assert code == 3
    assert [asked for asked in service.seen if asked[0] == "x"] == [
        "x0", "x1 | x0 | About x0", "x2 | x0 | About x0 | x1 | About x1 | x0 | About x0",
    ]  # fmt: skip
    assert [found[id]["outcome"] for id in ("y0", "y1", "y2")] == ["ok", "failed", "failed"]
    assert found["y2"]["error"]["kind"] == "conversation"


async def test_a_budget_stops_before_it_is_exceeded(tmp_path: Path, service: Service) -> None:
    """It counts what was used and what could be used, and a resumed batch goes on counting."""
    write_pipeline(tmp_path, service.url)
    code, _, err = await batch(tmp_path, "batch.yaml", questions(tmp_path, 60), "-o", "a.jsonl", "--budget-tokens", 300)
    assert (code, "the budget of 300 tokens" in err) == (1, True)
    assert 100 < service.bill <= 300
    before = service.bill
    assert (await batch(tmp_path, "resume", "a.jsonl.run", "--budget-tokens", 300))[0] == 1
    assert service.bill == before
    assert (await batch(tmp_path, "resume", "a.jsonl.run", "--budget-tokens", 100_000))[0] == 0
    assert len(results(tmp_path / "a.jsonl")) == len(service.seen) == 60


async def test_a_budget_in_money_needs_prices_and_is_kept(tmp_path: Path, service: Service) -> None:
    """Without a price it is exit code 2 before any call, and no folder; results, status and the end tell the cost."""
    pipeline = write_pipeline(tmp_path, service.url)
    asked, spend = questions(tmp_path, 60), ("--budget-cost", 0.01)
    code, _, err = await batch(tmp_path, "batch.yaml", asked, "-o", "a.jsonl", *spend)
    assert (code, "the price of the model 'main'" in err, service.seen) == (2, True, [])
    assert not (tmp_path / "a.jsonl.run").exists()
    text = pipeline.read_text().replace("retry:", "prices: {input: 100, output: 100}, retry:")
    pipeline.write_text(text)
    code, _, err = await batch(tmp_path, "batch.yaml", asked, "-o", "a.jsonl", *spend)
    assert (code, "the budget of $0.01" in err) == (1, True)
    assert 0 < service.bill * 100 / 1e6 <= 0.01
    assert f"${service.bill * 100 / 1e6:,.4f}" in err
    assert (await batch(tmp_path, "resume", "a.jsonl.run"))[0] == 1
    assert (await batch(tmp_path, "resume", "a.jsonl.run", "--budget-cost", 10))[0] == 0
    found = results(tmp_path / "a.jsonl")
    assert sum(each["usage"]["cost"] for each in found) == pytest.approx(service.bill * 100 / 1e6)
    _, out, _ = await batch(tmp_path, "status", "a.jsonl.run", "--json")
    assert json.loads(out)["cost"] == pytest.approx(service.bill * 100 / 1e6)


async def test_a_dry_run_sends_nothing(tmp_path: Path, service: Service) -> None:
    """It shows the messages and tokens of each record, and leaves no folder."""
    write_pipeline(tmp_path, service.url)
    code, out, err = await batch(
        tmp_path, "batch.yaml", questions(tmp_path, 3), "-o", "a.jsonl", "--dry-run", "--limit", 2
    )
    shown = [json.loads(line) for line in out.splitlines()]
    assert (code, [each["id"] for each in shown], service.seen) == (0, ["q0", "q1"], [])
    assert shown[0]["messages"][-1]["content"] == "question 0"
    assert shown[0]["longestAnswer"] == 50
    assert f"{sum(each['promptTokens'] for each in shown)} tokens" in err
    assert not (tmp_path / "a.jsonl.run").exists()


async def test_every_format_gives_the_same_answers(tmp_path: Path, service: Service) -> None:
    """JSON Lines, standard input, CSV and Parquet in; Parquet out."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_pipeline(tmp_path, service.url)
    rows = [{"id": f"q{n}", "query": f"line\none {n}"} for n in range(5)]
    asked = write_questions(tmp_path / "q.jsonl", rows)
    (tmp_path / "q.csv").write_text("id,query\n" + "".join(f'q{n},"line\none {n}"\n' for n in range(5)))
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "q.parquet")
    for name, source, stdin in (
        ("a", asked, None), ("b", "-", asked.read_bytes()), ("c", "q.csv", None), ("d", "q.parquet", None),
    ):  # fmt: skip
        code, _, err = await batch(tmp_path, "batch.yaml", source, "-o", f"{name}.jsonl", stdin=stdin)
        assert code == 0, err
    assert len({(tmp_path / f"{name}.jsonl").read_bytes() for name in "abcd"}) == 1
    assert (await batch(tmp_path, "batch.yaml", asked, "-o", "e.parquet"))[0] == 0
    answers = [row["answer"] for row in parquet.read_table(tmp_path / "e.parquet").to_pylist()]
    assert answers == [each["answer"] for each in results(tmp_path / "a.jsonl")]


def without_cost(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result without what a replay has otherwise: what its requests cost."""
    counted = ("requestSent", "promptTokens", "completionTokens", "totalTokens", "usageSource", "cost")
    attempts = [
        {name: value for name, value in attempt.items() if name not in counted} for attempt in result["attempts"]
    ]
    usage = result["usage"] and {
        name: value for name, value in result["usage"].items() if name not in ("cost", "unpricedAttempts")
    }
    return {**result, "attempts": attempts, "usage": usage}


async def test_a_batch_is_recorded_and_replayed_without_the_service(tmp_path: Path, service: Service) -> None:
    """The same but for what it costs, failures too; nothing sent, and no key needed; also when it goes on later."""
    write_pipeline(tmp_path, service.url)
    refused = {"question 2": 400, "question 3": 503}
    service.behave = lambda query, time: (refused.get(query, 200), {})
    asked = questions(tmp_path, 6)
    assert (await batch(tmp_path, "batch.yaml", asked, "-o", "a.jsonl", "--record", "kept"))[0] == 3
    seen = len(service.seen)
    code, _, err = await batch(tmp_path, "batch.yaml", asked, "-o", "b.jsonl", "--replay", "kept")
    assert (code, "4 of 6 answered, 2 failed, 0 requests, 0 tokens" in err) == (3, True), err
    replayed = (tmp_path / "b.jsonl").read_bytes()
    assert (await batch(tmp_path, "retry", "b.jsonl.run"))[0] == 3
    assert len(service.seen) == seen
    assert replayed == (tmp_path / "b.jsonl").read_bytes()
    recorded, again = results(tmp_path / "a.jsonl"), results(tmp_path / "b.jsonl")
    assert [each["error"]["kind"] for each in again if each["error"]] == ["invalid_request", "overloaded"]
    assert [attempt["requestSent"] for each in again for attempt in each["attempts"]] == [False] * seen
    assert [without_cost(each) for each in again] == [without_cost(each) for each in recorded]
    assert not any(KEY.encode() in path.read_bytes() for path in (tmp_path / "kept").iterdir())


async def test_answers_that_are_cached_are_not_asked_for_again(tmp_path: Path, service: Service) -> None:
    """A second batch over a model with a `cache` sends nothing, has no request in its journal and costs nothing."""
    pipeline = write_pipeline(tmp_path, service.url)
    pipeline.write_text(pipeline.read_text().replace("retry:", "cache: true, retry:"))
    asked = questions(tmp_path, 6)
    assert (await batch(tmp_path, "batch.yaml", asked, "-o", "a.jsonl"))[0] == 0
    code, _, err = await batch(tmp_path, "batch.yaml", asked, "-o", "b.jsonl")
    assert (code, len(service.seen), "6 of 6 answered, 0 requests, 0 tokens" in err) == (0, 6, True)
    first, second = results(tmp_path / "a.jsonl"), results(tmp_path / "b.jsonl")
    assert [each["answer"] for each in first] == [each["answer"] for each in second]
    assert all(each["attempts"][0]["fromCache"] for each in second)


async def test_results_have_the_value_of_an_answer_that_is_held_to_a_schema(tmp_path: Path, service: Service) -> None:
    """And the record whose answer does not match fails alone, with the place."""
    pipeline = write_pipeline(tmp_path, service.url)
    schema = "{type: object, properties: {days: {type: integer}}}"
    pipeline.write_text(pipeline.read_text().replace("generate: main", f"generate: {{model: main, schema: {schema}}}"))
    asked = [{"id": "a", "query": '{"days": 3}'}, {"id": "b", "query": '{"days": "x"}'}]
    write_questions(tmp_path / "in.jsonl", asked)
    await batch(tmp_path, "batch.yaml", "in.jsonl", "-o", "out.jsonl")
    good, bad = results(tmp_path / "out.jsonl")
    assert (good["answer"], good["value"], good["repaired"]) == ('{"days": 3}', {"days": 3}, True)
    assert (bad["error"]["kind"], "value" in bad) == ("schema_mismatch", False)
    assert "/days" in bad["error"]["message"]

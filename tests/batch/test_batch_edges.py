"""Batches at their edges: odd inputs, long outages, stuck plugins, and folders that are not what they should be."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from nexus_core.batch.journal import Journal
from nexus_core.batch.records import BatchRecord, parse_record
from nexus_core.contract.errors import UsageError
from tests.batch.conftest import Service, batch, results, start, write_pipeline, write_questions

pytestmark = pytest.mark.slow

STUCK = '''
import time
from nexus_core import Completion, ModelInfo, component, hookimpl

@component
class Stuck:
    """Blocks the event loop."""

    @property
    def model_info(self):
        return ModelInfo(id="stuck", provider="test", window=4000)

    async def send_prompt(self, prompt, options):
        print("stuck", flush=True)
        time.sleep(600)

    async def stream_response(self, prompt, options):
        yield

@hookimpl
def nexus_connectors():
    return [Stuck]
'''


async def test_a_line_that_is_no_utf8_costs_itself_alone(tmp_path: Path, service: Service) -> None:
    """In CSV as in JSON Lines; a first line that is none is told as such."""
    write_pipeline(tmp_path, service.url)
    (tmp_path / "q.csv").write_bytes(b"id,query\n1,a\n2,b\xe9\n3,c\n4,d\n")
    (tmp_path / "q.jsonl").write_bytes(b'{"id":1,"query":"a"}\n{"query":"b\xe9"}\n{"id":3,"query":"c"}\n')
    for name, good in (("q.csv", 3), ("q.jsonl", 2)):
        assert (await batch(tmp_path, "batch.yaml", name, "-o", f"{name}.jsonl", "--bad-lines", "fail"))[0] == 3
        found = results(tmp_path / f"{name}.jsonl")
        assert (len(found), sum(each["outcome"] == "ok" for each in found)) == (good + 1, good)
    for text in (
        "id,quéry\n1,a\n".encode("latin-1"),
        "query\na\n".encode("utf-16"),
        b'id,"query"x\n1,a\n',
        b"query,query\na,b\n",
    ):
        (tmp_path / "h.csv").write_bytes(text)
        code, _, err = await batch(tmp_path, "batch.yaml", "h.csv", "-o", "h.jsonl")
        assert (code, "Traceback" in err, "the first line" in err) == (2, False, True), err


@pytest.mark.parametrize(
    ("rows", "opened", "last"),
    [
        ('1,a,\n2,"b,\n3,c,\n4,d,\n', 3, 5),
        ('1,a,\n2,"b,\n3,"c ""and"" d",\n4,e,\n', 3, 4),
        ('1,"a\nand ""b""","c\n2,d,\n3,e,', 3, 5),
        ('1,a,\r\n2,é,"b\r\n3,c,\r\n', 3, 4),
    ],
    ids=["to the end", "to the next quote", "in a row of several lines", "in a file of Windows"],
)
async def test_a_quote_that_is_not_closed_refuses_a_csv_file(
    tmp_path: Path, service: Service, rows: str, opened: int, last: int
) -> None:
    """Else the rows that it takes in would be lost: nothing is run, its line is named, also with `--bad-lines fail`."""
    write_pipeline(tmp_path, service.url)
    (tmp_path / "q.csv").write_bytes(b"\xef\xbb\xbfid,query,context\n" + rows.encode())
    for more in ((), ("--bad-lines", "fail"), ("--bad-lines", "fail", "--sample", 1)):
        code, _, err = await batch(tmp_path, "batch.yaml", "q.csv", "-o", "a.jsonl", *more)
        assert (code, f"line {opened}: the quote" in err, f"by line {last}," in err) == (2, True, True), err
    assert (service.seen, (tmp_path / "a.jsonl.run").exists()) == ([], False)


async def test_a_quote_that_is_wrong_within_a_line_costs_that_line_alone(tmp_path: Path, service: Service) -> None:
    """Also in the last line, which no other follows."""
    write_pipeline(tmp_path, service.url)
    (tmp_path / "q.csv").write_text('id,query\n1,"a"b\n2,"c\nd"\n3,"e')
    assert (await batch(tmp_path, "batch.yaml", "q.csv", "-o", "a.jsonl", "--bad-lines", "fail"))[0] == 3
    assert [each["outcome"] for each in results(tmp_path / "a.jsonl")] == ["failed", "ok", "failed"]


async def test_a_rate_limit_makes_records_wait(tmp_path: Path, service: Service) -> None:
    """However many are refused, each is asked again after a pause (of 1, 2 and 4 s), and none fails for it."""
    write_pipeline(tmp_path, service.url)
    service.behave = lambda query, time: (429 if 5 < len(service.seen) <= 8 else 200, {"Retry-After": "0"})
    asked = write_questions(tmp_path / "q.jsonl", ({"id": n, "query": f"q{n}"} for n in range(30)))
    code, _, err = await batch(tmp_path, "batch.yaml", asked, "-o", "a.jsonl", "--max-concurrency", 2)
    assert (code, [each["outcome"] for each in results(tmp_path / "a.jsonl")]) == (0, ["ok"] * 30), err


async def test_a_second_interrupt_ends_a_batch_whose_plugin_is_stuck(tmp_path: Path) -> None:
    """A connector that blocks the event loop holds up neither the first one's promise nor the second one's."""
    (tmp_path / "stuck.py").write_text(STUCK)
    (tmp_path / "batch.yaml").write_text(
        "name: x\nplugins: [./stuck.py]\nmodels: {main: {use: stuck}}\nsteps: [{prompt: qa}, {generate: main}]\n"
    )
    write_questions(tmp_path / "q.jsonl", [{"query": "a"}])
    process = await start(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl")
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readuntil(b"stuck")
    process.send_signal(signal.SIGINT)
    await process.stderr.readuntil(b"again to stop at once")  # two signals that come at the same time are one
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 130


async def test_what_follows_in_a_conversation_is_reopened_with_what_failed(tmp_path: Path, service: Service) -> None:
    """When the service comes back, every turn has its answer; a long one that has a gap fails in one go."""
    write_pipeline(tmp_path, service.url)
    talk = [{"id": f"{c}-{n}", "query": f"{c} {n}", "conversation": f"c{c}"} for c in range(25) for n in range(2)]
    write_questions(tmp_path / "q.jsonl", talk)
    service.behave = lambda query, time: (400, {})
    assert (await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl"))[0] == 1
    service.behave = lambda query, time: (200, {})
    assert (await batch(tmp_path, "resume", "a.jsonl.run"))[0] == 0
    long = ({"query": f"q{n}", "conversation": "c"} for n in range(1500))
    write_questions(tmp_path / "l.jsonl", long)
    service.behave = lambda query, time: (400, {})
    code, _, err = await batch(tmp_path, "batch.yaml", "l.jsonl", "-o", "l.out.jsonl")
    assert (code, "1,500 failed" in err) == (3, True), err


async def test_many_poison_records_are_passed_with_keep_going(tmp_path: Path, service: Service) -> None:
    """Without it a batch of nothing else would stop at each start; `status` says why it did."""
    write_pipeline(tmp_path, service.url)
    asked = write_questions(tmp_path / "q.jsonl", ({"id": n, "query": f"q{n}"} for n in range(30)))
    service.behave = lambda query, time: (400 if int(query[1:]) < 25 else 200, {})
    assert (await batch(tmp_path, "batch.yaml", asked, "-o", "a.jsonl"))[0] == 1
    _, out, _ = await batch(tmp_path, "status", "a.jsonl.run")
    assert "20 records in a row failed" in out
    assert (await batch(tmp_path, "resume", "a.jsonl.run", "--keep-going"))[0] == 3
    assert [each["outcome"] for each in results(tmp_path / "a.jsonl")] == ["failed"] * 25 + ["ok"] * 5


async def test_no_secret_of_the_command_line_is_written(tmp_path: Path, service: Service) -> None:
    """An override with a key is refused before anything is made; a variable in its place is taken."""
    write_pipeline(tmp_path, service.url)
    asked = write_questions(tmp_path / "q.jsonl", [{"query": "a"}])
    arguments = ("batch.yaml", asked, "-o", "a.jsonl", "--set")
    code, _, err = await batch(tmp_path, *arguments, "models.main.api_key=sk-of-mine")
    assert (code, "sk-of-mine" in err, (tmp_path / "a.jsonl.run").exists()) == (2, False, False)
    assert (await batch(tmp_path, *arguments, "models.main.api_key=${BATCH_KEY}"))[0] == 0


async def test_no_file_of_others_is_replaced(tmp_path: Path, service: Service) -> None:
    """Neither what the batch is begun with nor any other file, but with --overwrite, which the former never is."""
    pipeline = write_pipeline(tmp_path, service.url)
    asked = write_questions(tmp_path / "q.jsonl", [{"query": "a"}])
    (tmp_path / "mine.jsonl").write_text("mine")
    for output in ("q.jsonl", "./sub/../q.jsonl", "mine.jsonl"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        assert (await batch(tmp_path, "batch.yaml", asked, "-o", output))[0] == 2
    assert (await batch(tmp_path, "batch.yaml", asked, "-o", "q.jsonl", "--overwrite"))[0] == 2
    assert (asked.read_text(), (tmp_path / "mine.jsonl").read_text()) == ('{"query": "a"}\n', "mine")
    assert (await batch(tmp_path, "batch.yaml", asked, "-o", "mine.jsonl", "--overwrite"))[0] == 0
    assert pipeline.exists()
    (tmp_path / "other.jsonl").write_text("mine")
    assert (await batch(tmp_path, "export", "mine.jsonl.run", "-o", "other.jsonl"))[0] == 2
    assert (await batch(tmp_path, "export", "mine.jsonl.run", "-o", "x.csv"))[0] == 2


async def test_a_folder_can_be_moved_and_its_manifest_not_be_edited(tmp_path: Path, service: Service) -> None:
    """Also that of a batch from standard input; what is no manifest of this version is told as such."""
    write_pipeline(tmp_path, service.url)
    service.behave = lambda query, time: (401, {})
    assert (await batch(tmp_path, "batch.yaml", "-", "-o", "a.jsonl", stdin=b'{"query": "a"}\n'))[0] == 1
    (tmp_path / "a.jsonl.run").rename(tmp_path / "moved")
    service.behave = lambda query, time: (200, {})
    assert (await batch(tmp_path, "resume", "moved"))[0] == 0
    manifest = tmp_path / "moved" / "manifest.json"
    whole = json.loads(manifest.read_text())
    wrong: list[object] = [{}, {**whole, "settings": {}}, {**whole, "limits": {}}, [], {**whole, "more": 1}]
    for broken in wrong:
        manifest.write_text(json.dumps(broken))
        code, _, err = await batch(tmp_path, "resume", "moved")
        assert (code, "Traceback" in err) == (2, False), err


async def test_what_is_no_regular_file_is_no_input(tmp_path: Path, service: Service) -> None:
    """A pipe can be read once, and a batch reads its input again when it goes on."""
    write_pipeline(tmp_path, service.url)
    os.mkfifo(tmp_path / "q.jsonl")
    code, _, err = await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl")
    assert (code, "no regular file" in err) == (2, True)


async def test_a_bad_line_keeps_its_id_and_its_conversation(tmp_path: Path, service: Service) -> None:
    """So that the output can be joined, and no turn is answered with a gap before it."""
    write_pipeline(tmp_path, service.url)
    talk = [{"id": "a", "query": "1", "conversation": "c"}, {"id": "b", "query": "", "conversation": "c"},
            {"id": "c", "query": "3", "conversation": "c"}]  # fmt: skip
    write_questions(tmp_path / "q.jsonl", talk)
    assert (await batch(tmp_path, "batch.yaml", "q.jsonl", "-o", "a.jsonl", "--bad-lines", "fail"))[0] == 3
    found = [(each["id"], each["outcome"]) for each in results(tmp_path / "a.jsonl")]
    assert found == [("a", "ok"), ("b", "failed"), ("c", "failed")]


@pytest.mark.parametrize(
    ("key", "hint"),
    [("qery", "did you mean 'query'"), ("question", "is it the `query`"), ("prompt", "is it the `query`")],
)
def test_another_word_for_the_query_is_told_as_such(key: str, hint: str) -> None:
    """Where a record has none, an unknown key is likely to be it."""
    with pytest.raises(UsageError, match=hint):
        parse_record({key: "How many?"})


def test_equal_records_are_numbered_in_little_time(tmp_path: Path) -> None:
    """Looking for the next number takes about twice its digits, not all numbers before it."""
    journal = Journal.create(tmp_path / "journal.sqlite")
    asked = 0

    def count(statement: str) -> None:
        nonlocal asked
        asked += statement.startswith("SELECT 1 FROM records")

    journal._connection.set_trace_callback(count)
    journal.add((n, BatchRecord(id="x", query="q", has_own_id=False), None) for n in range(1000))
    ids = [id for id, *_ in journal.results()]
    assert ids == ["x", *(f"x-{n}" for n in range(2, 1001))]
    assert asked < 1000 * 22
    journal.close()

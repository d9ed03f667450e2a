"""The engine `ray`: what `nexus batch --engine ray` promises, against a service that counts."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ray.conftest import CANARY, DRIVER_KEY, Cluster, Service, run_batch, start_batch, write_questions

pytestmark = pytest.mark.slow

RUN = ("trains.yaml", "questions.jsonl", "-o")
CONCURRENCY = 8


def ids_of(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def states(folder: Path) -> dict[str, int]:
    """Return how many requests are in each state, by the journal."""
    with sqlite3.connect(folder / "answers.jsonl.run" / "journal.sqlite") as journal:
        return dict(journal.execute("SELECT state, count(*) FROM requests GROUP BY state"))


def files_with(text: str, *folders: Path) -> list[Path]:
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if text.encode() in path.read_bytes()]


def test_answers_equal_those_of_one_machine_to_the_byte(folder: Path, service: Callable[[float], Service]) -> None:
    """On a cluster that is started for the batch, and leaves nothing behind; with files, a plugin and conversations."""
    upstream = service(0.02)
    write_questions(folder, 60)
    assert run_batch(folder, upstream, *RUN, "local.jsonl")[0] == 0
    code, printed = run_batch(folder, upstream, *RUN, "ray.jsonl", "--engine", "ray", TMPDIR="/tmp")
    assert code == 0, printed
    assert (folder / "ray.jsonl").read_bytes() == (folder / "local.jsonl").read_bytes()
    assert set(upstream.seen().values()) == {2}
    assert "60 of 60 answered, 60 requests, 900 tokens, $0.0012" in printed


def test_a_secret_is_known_to_the_worker_alone(
    folder: Path, service: Callable[[float], Service], cluster: Cluster
) -> None:
    """Neither the driver's key nor the worker's stands in any file of Ray or of the run."""
    upstream = service(0.01)
    write_questions(folder, 20)
    (folder / "trains.yaml").write_text((folder / "trains.yaml").read_text().replace("${SERVICE}", upstream.address))
    code, printed = run_batch(folder, upstream, *RUN, "answers.jsonl", "--engine", "ray", cluster=cluster)
    assert code == 0, printed
    assert upstream.keys() == [f"Bearer {CANARY}"]
    assert files_with(cluster.address, cluster.folder) != []
    assert files_with(CANARY, cluster.folder, folder) == []
    assert files_with(DRIVER_KEY, cluster.folder, folder) == []


def test_a_plugin_that_a_worker_lacks_is_reported_before_the_first_request(
    folder: Path, service: Callable[[float], Service], cluster: Cluster
) -> None:
    """The error names the worker, the plugin and its version."""
    upstream = service(0.01)
    write_questions(folder, 5)
    site = folder / "site"
    info = site / "acme_ranker-1.4.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-ranker\nVersion: 1.4\n")
    (info / "entry_points.txt").write_text("[contextnexus]\nloud = acme_ranker\n")
    (site / "acme_ranker.py").write_text((folder / "shout.py").read_text())
    text = (
        (folder / "trains.yaml").read_text().replace("plugins: [shout.py]\n", "").replace("rank: shout", "rank: loud")
    )
    (folder / "trains.yaml").write_text(text)
    code, printed = run_batch(
        folder, upstream, *RUN, "answers.jsonl", "--engine", "ray", cluster=cluster, PYTHONPATH=str(site)
    )
    assert code == 2, printed
    assert "lacks acme-ranker 1.4 (plugin loud)" in printed
    assert "the worker 127.0.0.1" in printed
    assert upstream.seen() == {}


def test_records_of_a_killed_worker_are_run_again(
    folder: Path, service: Callable[[float], Service], cluster: Cluster
) -> None:
    """What was sent again was under way at the kill and is unknown in the journal; Ray itself prints nothing."""
    upstream = service(0.2)
    (folder / "trains.yaml").write_text((folder / "trains.yaml").read_text().replace("${SERVICE}", upstream.address))
    ids = write_questions(folder, 80)
    limit = ("--max-concurrency", str(CONCURRENCY))
    batch = start_batch(folder, upstream, *RUN, "answers.jsonl", "--engine", "ray", *limit, cluster=cluster)
    upstream.wait_for(20, batch)
    os.kill(cluster.workers()[0], signal.SIGKILL)
    output, printed = batch.communicate(timeout=120)
    assert batch.returncode == 0, printed
    assert output == ""
    assert ids_of(folder / "answers.jsonl") == ids
    again = sum(upstream.seen().values()) - len(ids)
    assert 0 <= again <= CONCURRENCY
    counted = states(folder)
    assert again <= counted.pop("unknown", 0) <= CONCURRENCY
    assert counted == {"ok": len(ids)}


def test_a_batch_whose_driver_was_killed_goes_on(
    folder: Path, service: Callable[[float], Service], cluster: Cluster
) -> None:
    """No request is without its row in the journal, and each id is in the output once."""
    upstream = service(0.2)
    (folder / "trains.yaml").write_text((folder / "trains.yaml").read_text().replace("${SERVICE}", upstream.address))
    ids = write_questions(folder, 60)
    limit = ("--max-concurrency", str(CONCURRENCY))
    batch = start_batch(folder, upstream, *RUN, "answers.jsonl", "--engine", "ray", *limit, cluster=cluster)
    upstream.wait_for(15, batch)
    batch.kill()
    batch.communicate()
    assert sum(upstream.seen().values()) <= sum(states(folder).values())
    code, printed = run_batch(folder, upstream, "resume", "answers.jsonl.run", *limit, cluster=cluster)
    assert code == 0, printed
    assert ids_of(folder / "answers.jsonl") == ids
    assert set(upstream.seen()) == {f"Question {id}?" for id in ids}
    assert sum(upstream.seen().values()) - len(ids) <= CONCURRENCY
    assert sum(upstream.seen().values()) <= sum(states(folder).values())


def test_a_record_that_kills_its_workers_fails_alone(
    folder: Path, service: Callable[[float], Service], cluster: Cluster
) -> None:
    """Those that were under way beside it are answered."""
    upstream = service(0.05)
    (folder / "trains.yaml").write_text((folder / "trains.yaml").read_text().replace("${SERVICE}", upstream.address))
    deadly = "        if query == 'Question q7?':\n            import os; os.kill(os.getpid(), 9)\n"
    plugin = (folder / "shout.py").read_text()
    (folder / "shout.py").write_text(plugin.replace("        return ranking", f"{deadly}        return ranking"))
    ids = write_questions(folder, 30)
    code, printed = run_batch(folder, upstream, *RUN, "answers.jsonl", "--engine", "ray", cluster=cluster)
    assert code == 3, printed
    results = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [result["id"] for result in results] == ids
    failed = [(result["id"], result["error"]["kind"]) for result in results if result["outcome"] != "ok"]
    assert failed == [("q7", "worker_died")]


def test_an_interrupted_batch_ends_what_is_under_way(
    folder: Path, service: Callable[[float], Service], cluster: Cluster
) -> None:
    """Ctrl-C reaches all processes of the terminal; the batch is resumable, and each request has its answer."""
    upstream = service(0.5)
    (folder / "trains.yaml").write_text((folder / "trains.yaml").read_text().replace("${SERVICE}", upstream.address))
    write_questions(folder, 60)
    batch = start_batch(folder, upstream, *RUN, "answers.jsonl", "--engine", "ray", cluster=cluster)
    upstream.wait_for(8, batch)
    batch.send_signal(signal.SIGINT)
    _, printed = batch.communicate(timeout=60)
    assert batch.returncode == 130, printed
    assert "nexus batch resume" in printed
    assert states(folder) == {"ok": sum(upstream.seen().values())}

"""When pipelines are checked: soon after a change, within a bound under continued typing, and the newest text alone."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from nexus_core.contract.errors import Problem
from nexus_core.lsp.analysis_thread import AnalysisThread
from nexus_core.lsp.check_schedule import LONGEST_S, CheckSchedule
from nexus_core.lsp.document_text import DocumentText
from nexus_core.lsp.documents import CheckToken, OpenDocument, StaleCheckError
from nexus_core.lsp.service import LanguageService

GOOD = "name: good\nplugins: [waits.py]\nmodels: {m: extractive}\nsteps:\n- rank: waits\n- prompt: qa\n- generate: m\n"
WAITING = """\
import threading
from nexus_core import hookimpl, ranker

threading.started_by_plugin.set()
threading.ended_by_test.wait(60)

@ranker
def waits(query, items):
    return [0.0 for item in items]

@hookimpl
def nexus_rankers():
    return [waits]
"""

Published = list[tuple[str, tuple[Problem, ...], int | None]]


def opened(folder: Path, text: str, version: int) -> dict[str, OpenDocument]:
    path = folder / "p.yaml"
    return {"file": OpenDocument(uri="file", path=path, source=DocumentText(text), version=version, is_pipeline=True)}


def schedule_of(published: Published, told: asyncio.Event) -> CheckSchedule:
    def publish(file: str, problems: tuple[Problem, ...], version: int | None) -> None:
        published.append((file, problems, version))
        told.set()

    return CheckSchedule(LanguageService({}), AnalysisThread(), publish)


async def test_continued_typing_puts_a_check_off_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of the loop, which this test moves on itself."""
    schedule, loop = schedule_of([], asyncio.Event()), asyncio.get_running_loop()
    began = now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    due = []
    for _ in range(30):
        schedule.touch(["a.yaml"])
        due.append(schedule._timers["a.yaml"].when() - began)
        now += 0.02
    assert due == sorted(due)
    assert due[-1] == due[-2] == pytest.approx(LONGEST_S)
    schedule.forget("a.yaml")


async def test_a_change_ends_the_check_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a plugin is imported, the text changes: the older result is never published."""
    started, ended, told = threading.Event(), threading.Event(), asyncio.Event()
    monkeypatch.setattr(threading, "started_by_plugin", started, raising=False)
    monkeypatch.setattr(threading, "ended_by_test", ended, raising=False)
    (tmp_path / "waits.py").write_text(WAITING)
    published: Published = []
    schedule, file = schedule_of(published, told), str(tmp_path / "p.yaml")
    schedule.service.documents = opened(tmp_path, GOOD.replace("rank: waits", "rank: {use: waits, a: b}"), 1)
    schedule.touch([file], at_once=True)
    assert await asyncio.to_thread(started.wait, 60)
    schedule.service.documents = opened(tmp_path, GOOD, 2)
    schedule.touch([file], at_once=True)
    ended.set()
    await asyncio.wait_for(told.wait(), 60)
    assert published == [(file, (), 2)]


def test_a_check_that_nobody_wants_ends_at_its_next_component(tmp_path: Path) -> None:
    """It does not go on to the end of a long file."""
    service, token = LanguageService({}), CheckToken()
    service.documents = opened(tmp_path, GOOD.replace("plugins: [waits.py]\n", "").replace("waits", "bm25"), 1)
    assert service.check(str(tmp_path / "p.yaml"), token).problems == {str(tmp_path / "p.yaml"): ()}
    token.stale = True
    with pytest.raises(StaleCheckError):
        service.check(str(tmp_path / "p.yaml"), token)

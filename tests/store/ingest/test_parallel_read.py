"""How the reading of documents is shared out among processes."""

from __future__ import annotations

import pytest

from nexus_core.contract.documents import DocumentMark
from nexus_core.store.ingest.parallel_read import processes_for


@pytest.mark.parametrize(
    ("documents", "size", "processes"),
    [(1, 10, 1), (99, 10, 1), (100, 10, 2), (350, 10, 4), (10_000, 10, 64), (2, 1_000_000, 2), (2, 3_000_000, 4)],
)
def test_processes_are_as_many_as_there_is_work_for(documents: int, size: int, processes: int) -> None:
    """Each costs its start: on many processors a hundred short documents start two, not one for each processor."""
    due = [(DocumentMark(name=f"{number}.md", size=size), "") for number in range(documents)]
    assert processes_for(due, 64) == processes
    assert processes_for(due, 1) == 1

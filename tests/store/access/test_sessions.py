"""Sessions in the store."""

from __future__ import annotations

from pathlib import Path

from nexus_core.store.access.sessions import Sessions
from nexus_core.store.store import Store


def files_of(folder: Path) -> bytes:
    """Return what all files of a folder hold."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_session_is_found_by_its_id_until_it_ends(tmp_path: Path) -> None:
    """By any process; neither the id nor the state stand in the file."""
    now = 1000.0
    async with Store(tmp_path) as store:
        id = await Sessions(store, lambda: now).begin("ann", "Ann", ("group:hr",), lives_s=60, state="state-1")
    async with Store(tmp_path) as store:
        sessions = Sessions(store, lambda: now)
        found = await sessions.find(id)
        assert found is not None
        assert (found.owner, found.name, found.groups, found.expires) == ("ann", "Ann", ("group:hr",), 1060.0)
        for other in ("", id[:-1], id + "x", "x" * 500, "\udc80"):
            assert await sessions.find(other) is None
        now = 1060.0
        assert await sessions.find(id) is None
    written = files_of(tmp_path)
    assert id.encode() not in written
    assert b"state-1" not in written


async def test_who_signs_out_ends_one_session(tmp_path: Path) -> None:
    """An id that is nobody's ends none."""
    async with Store(tmp_path) as store:
        sessions = Sessions(store)
        one, other = [await sessions.begin("ann", "ann", (), lives_s=60, state=state) for state in "ab"]
        await sessions.end(one)
        await sessions.end("nobody's")
        assert [await sessions.find(id) is None for id in (one, other)] == [True, False]

"""Copies of whole stores: all that is in one, resumable, compared at the end, and never over something else."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import closing
from pathlib import Path

import pytest

from nexus_core import Item, Store
from nexus_core.contract.errors import StoreDamagedError, UsageError
from nexus_core.store.database.schema import expected
from nexus_core.store.database.table_copy import DERIVED, TABLES
from nexus_core.testing.contracts.store.copies import DIED, ITEMS, KILLED, fill


def test_every_table_is_copied_or_derived() -> None:
    """A table that a later version adds is thought of."""
    made = {name for name, statement in expected().items() if statement.startswith("CREATE TABLE")}
    assert made - {"sqlite_sequence"} == {table.name for table in TABLES} | DERIVED


async def test_nothing_is_copied_over_something_else(tmp_path: Path) -> None:
    """Neither over a store in use, nor over the backup of another one."""
    async with Store(tmp_path / "one") as one, Store(tmp_path / "two") as two, Store(tmp_path / "three") as three:
        await fill(one)
        await two.create("mine")
        with pytest.raises(UsageError, match="holds contexts of its own"):
            await one.copy_to(two)
        await one.copy_to(three, as_backup=True)
        with pytest.raises(UsageError, match="copy of another store"):
            await two.copy_to(three)
        assert [each.name for each in await two.contexts()] == ["mine"]


@pytest.mark.parametrize("table", ["sessions", "spend", "runs"])
async def test_what_servers_keep_of_people_and_runs_is_not_copied_over(tmp_path: Path, table: str) -> None:
    """A store without contexts and keys may be served, too."""
    values = {
        "sessions": "VALUES (x'00', x'00', 'ann', 'Ann', '', 1.0, 9.0)",
        "spend": "VALUES ('2026-01-01', 'owner', 'ann', 1, 1, 1, 0, 0.0, 0)",
        "runs": "(id, owner, fingerprint, api, pipeline, model, model_id, background, in_ledger, created, server,"
        " state, sources) VALUES ('r', 'ann', '', 'queries', 'p', 'm', 'm', 0, 0, 1.0, 's',"
        " 'completed', '')",
    }
    async with Store(tmp_path / "one") as one, Store(tmp_path / "two") as two:
        await two.write(lambda connection: connection.execute(f"INSERT INTO {table} {values[table]}") and None)
        with pytest.raises(UsageError, match=f"holds {table} of its own"):
            await one.copy_to(two)


async def test_what_differs_is_told(tmp_path: Path) -> None:
    """Rows that are lacking, different or too many, by table, and originals that are gone."""
    async with Store(tmp_path / "one") as one, Store(tmp_path / "two") as two:
        key = await fill(one)
        await one.copy_to(two)
        (two.folder.objects / key[:2] / key).unlink()
        with closing(sqlite3.connect(two.folder.database)) as connection, connection:
            connection.execute("UPDATE items SET text = 'other' WHERE id = 'i5'")
            connection.execute("DELETE FROM tags WHERE item_key IN (SELECT key FROM items WHERE id = 'i6')")
            connection.execute("INSERT INTO settings (name, value) VALUES ('a', 'b')")
        rows_of, *others = await one.differences(two)
        assert rows_of == "settings: 1 too many"
        assert others[:2] == ["items: 1 different", "tags: 1 lacking"]
        assert f"the original {key} is gone" in others[2]


async def test_an_original_that_is_damaged_is_not_taken_for_whole(tmp_path: Path) -> None:
    """In the source: the copy ends with an error, and is not called whole."""
    async with Store(tmp_path / "one") as one, Store(tmp_path / "two") as two:
        key = await fill(one)
        (one.folder.objects / key[:2] / key).write_bytes(b"y")
        with pytest.raises(StoreDamagedError, match="is damaged"):
            await one.copy_to(two)


@pytest.fixture(params=["folder to folder", "folder to postgres", "postgres to folder"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Return where a store is, and where its copy is to be."""
    kinds = request.param.split(" to ")
    one, two = (
        request.getfixturevalue("postgres") if kind == "postgres" else str(tmp_path / f"{place}-store")
        for place, kind in enumerate(kinds)
    )
    return one, two


_COMMAND = (sys.executable, "-m", "nexus_core.cli.main")


async def command(*arguments: str, store: str) -> tuple[int, str]:
    """Return the exit code of a command, and what it has said."""
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, *arguments, env={**os.environ, "NEXUS_STORE": store}, stdout=PIPE, stderr=STDOUT
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode is not None
    return process.returncode, " ".join(said.split())


async def test_half_a_copy_is_neither_opened_nor_repaired(places: tuple[str, str], tmp_path: Path) -> None:
    """By any command but the same copy, which each of them names; and then it is counted."""
    async with Store(places[0]) as one:
        await fill(one)
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, *places)
    await killed.wait()
    (tmp_path / "own.yaml").write_text("name: own\nmodels: {main: {use: extractive}}\nsteps: [{generate: main}]\n")
    for arguments in (("store", "verify"), ("context", "list"), ("serve", str(tmp_path / "own.yaml"), "--port", "0")):
        code, said = await command(*arguments, store=places[1])
        assert (code, "run the same `nexus store copy`" in said, "--repair" in said) == (1, True, False), said
    assert (await command("store", "copy", *places, store=places[0]))[0] == 0
    code, said = await command("store", "verify", places[1], store=places[0])
    assert code == 0
    counted = "1 context, 299 items, 1 conversation and 1 key in "
    assert f"all is well: {counted}" in said, said
    assert said.endswith("and 1 original; " + f"{places[1]} holds the same"), said


async def test_a_backup_whose_update_was_interrupted_says_what_to_do(tmp_path: Path) -> None:
    """It can be opened, as before: it may be all that is left of its store."""
    places = str(tmp_path / "one"), str(tmp_path / "two")
    async with Store(places[0]) as one:
        await fill(one)
        await one.backup(places[1])
        await one.add("c", [Item(id=f"j{n}", text=f"more {n}") for n in range(ITEMS)])
    script = KILLED.replace("done >= 200", "done >= 400").replace("seen=see", "seen=see, as_backup=True")
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", script, *places)
    assert await killed.wait() == DIED
    async with Store(places[0]) as one, Store(places[1]) as two:
        [problem] = await two.check()
        assert "run the same `nexus store backup` again" in problem
        assert "run the same `nexus store backup` again" in (await one.differences(two))[0]
        await one.copy_to(two, as_backup=True)
        assert (await two.check(), await one.differences(two)) == ((), ())


async def test_a_text_that_the_target_cannot_keep_is_named(tmp_path: Path, postgres: str) -> None:
    """By its item, or by its table and key."""
    async with Store(tmp_path / "one") as one:
        await fill(one)
    with closing(sqlite3.connect(tmp_path / "one" / "store.db")) as connection, connection:
        connection.execute("UPDATE turns SET query = 'a' || char(0) || 'b'")
    async with Store(tmp_path / "one") as one, Store(postgres) as two:
        with pytest.raises(UsageError, match=r"the query of the row of turns with key 1 holds a NUL"):
            await one.copy_to(two)
        with closing(sqlite3.connect(tmp_path / "one" / "store.db")) as connection, connection:
            connection.execute(
                "UPDATE tags SET tag = 'a' || char(0) WHERE item_key IN (SELECT key FROM items WHERE id = 'i5')"
            )
        with pytest.raises(UsageError, match=r"the tag of the item 'i5' in the context 'c' \(table tags\) holds a NUL"):
            await one.copy_to(two)

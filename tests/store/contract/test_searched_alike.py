"""A store in a folder and one in Postgres that hold the same find the same, whatever the history of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from nexus_core import Item, Store
from nexus_core.contract.run_context import Viewer
from nexus_core.toolkit import EVERYTHING, parse_filter

pytestmark = pytest.mark.slow

WORDS = "ferry baker lighthouse rope sail anchor tide harbour gull storm".split()
LATER = parse_filter({"year": {"gte": 2002}})
STAFF = Viewer(groups=frozenset({"group:staff"}))


def notes(chooser: Random) -> list[Item]:
    """Return items of which many say the same, some of them granted; the case of ids tells them apart."""
    texts = [" ".join(chooser.choices(WORDS, k=chooser.randint(1, 6))) for _ in range(25)]
    return [
        Item(
            id=f"{chooser.choice('aBäZ')}{number}",
            text=chooser.choice(texts),
            metadata={"year": 2000 + number % 4},
            readers=("group:staff",) if number % 5 == 0 else (),
        )
        for number in range(120)
    ]


async def found(
    store: Store, questions: Sequence[str], by: Literal["words", "both"]
) -> list[tuple[list[str], list[float]]]:
    """Return ids and scores of the best ten and of the pool, for all, with a filter and with grants."""
    answers = []
    for question in questions:
        for where, viewer, limit in ((EVERYTHING, None, 10), (EVERYTHING, None, 30), (LATER, None, 10),
                                     (EVERYTHING, STAFF, 10)):  # fmt: skip
            ranking = await store.search("c", question, limit=limit, where=where, viewer=viewer, by=by)
            answers.append(([item.id for item in ranking.items], [*(ranking.scores or ())]))
    return answers


@pytest.mark.parametrize("by", ["words", "both"])
async def test_folder_and_postgres_find_the_same(tmp_path: Path, postgres: str, by: Literal["words", "both"]) -> None:
    """Added at once there; here in batches of another order, among items that change and go."""
    pytest.importorskip("wordllama")
    chooser = Random(by)
    items = notes(chooser)
    questions = ["rope", '"ferry rope"', *(" ".join(chooser.choices(WORDS, k=1 + n % 4)) for n in range(6))]
    async with Store(tmp_path / "folder") as one, Store(postgres) as other:
        await one.create("c")
        await one.add("c", items)
        await other.create("c")
        gone = [Item(id=f"gone{number}", text="rope " * number) for number in range(1, 20)]
        await other.add("c", [*gone, *(Item(id=item.id, text="before") for item in items[::3])])
        mixed = chooser.sample(items, len(items))
        for start in range(0, len(mixed), 50):
            await other.add("c", mixed[start : start + 50])
        await other.remove("c", [item.id for item in [*gone, *items[::7]]])
        await other.add("c", items[::7])
        for store in (one, other) if by == "both" else ():
            await store.embed("c", "static")
        assert await found(one, questions, by) == await found(other, questions, by)

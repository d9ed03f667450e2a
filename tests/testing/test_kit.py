"""The names of the kit, and what they cost: importing one needs neither pytest nor hypothesis unless it is theirs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nexus_core.testing as kit
from nexus_core import Item, RunContext, RunStarted
from nexus_core.contract.protocols import Ranker, Sink, Template
from nexus_core.contract.ranking import Ranking
from nexus_core.testing import Dialect, FakeRanker, FakeTemplate, OpenAIDialect, RaisingSink, SlowSink


def test_every_name_can_be_imported_and_is_typed() -> None:
    """The lazy table and the stub that type checkers read agree."""
    tree = ast.parse(Path(kit.__file__).with_suffix(".pyi").read_text("utf-8"))
    stubbed = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert stubbed == {name: getattr(kit, name).__module__ for name in kit.__all__}
    with pytest.raises(AttributeError, match="no attribute 'ConectorContract'"):
        _ = kit.ConectorContract  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import nexus_core.testing", {"pytest", "hypothesis", "aiohttp", "asyncio"}),
        ("from nexus_core.testing import FakeConnector, ScriptedUpstream", {"pytest", "hypothesis", "aiohttp"}),
        ("from nexus_core.testing import ConnectorContract, RankerContract, SinkContract", {"hypothesis", "aiohttp"}),
    ],
    ids=["package", "fakes", "suites"],
)
def test_names_import_no_more_than_they_need(statement: str, absent: set[str]) -> None:
    """Who needs a fake alone installs no test library."""
    code = f"import sys; {statement}; print(*sorted(set(sys.modules) & {absent!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


async def test_fakes_do_what_they_are_told() -> None:
    """Scores, messages and errors are those that were given."""
    items = (Item(id="a", text="A"), Item(id="b", text="B"))
    ranked = await FakeRanker(scores={"b": 2.0}).rank("q", Ranking(items), RunContext())
    assert [candidate.item.id for candidate in ranked] == ["b", "a"]
    with pytest.raises(ValueError, match="broken"):
        await FakeRanker(error=ValueError("broken")).rank("q", Ranking(items), RunContext())
    with pytest.raises(ValueError, match="broken"):
        FakeTemplate(error=ValueError("broken")).render({})
    assert isinstance(FakeRanker(), Ranker)
    assert isinstance(FakeTemplate(), Template)


def test_fake_sinks_are_slow_or_raise() -> None:
    """Both keep what they were given."""
    event = RunStarted(run_id="r", time=1.0, pipeline="p")
    slow, raising = SlowSink(seconds=0.001), RaisingSink()
    slow.emit(event)
    with pytest.raises(OSError, match="the sink is broken"):
        raising.emit(event)
    assert (slow.events, raising.events) == ([event], [event])
    assert isinstance(raising, Sink)


def test_dialect_of_openai_is_a_dialect() -> None:
    """It has every member, a refusal of every class, and a name for every form of a stream."""
    from nexus_core.testing.dialect import REFUSALS

    dialect = OpenAIDialect()
    assert isinstance(dialect, Dialect)
    assert set(dialect.refusals("no")) == set(REFUSALS)
    good = dialect.stream(["a", "b"])
    assert 2 < good.needed <= len(good.pieces)
    assert len(dialect.quirks(["a", "b"])) > 20

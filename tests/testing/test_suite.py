"""A suite cannot be weakened silently, and what is absent is declared, looked at and reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nexus_core.testing import (
    ConnectorContract,
    EmbedderContract,
    FakeConnector,
    FakeRanker,
    RankerContract,
    ReaderContract,
    RerankerContract,
    SinkContract,
    SourceContract,
    StoreContract,
    TemplateContract,
    ToolContract,
)
from nexus_core.testing.contracts.suite import Contract

pytestmark = pytest.mark.slow

SUITES = [
    *(ConnectorContract, EmbedderContract, RankerContract, ReaderContract, RerankerContract, SinkContract),
    *(SourceContract, StoreContract, TemplateContract, ToolContract),
]


def names_of(suite: type) -> list[str]:
    return sorted(name for name in dir(suite) if name.startswith("test_"))


class Mixin:
    def test_no_items_are_no_error(self) -> None:
        return


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"test_no_items_are_no_error": lambda self: None}, "cannot be replaced", id="a test"),
        pytest.param({"test_it_is_a_ranker": None}, "`test_it_is_a_ranker` belongs to the suite", id="a test removed"),
        pytest.param({"_check_ties": lambda self: None}, "_check_ties", id="what a test calls"),
        pytest.param({"test_the_suite_is_whole": None}, "test_the_suite_is_whole", id="the check itself"),
        pytest.param({"capabilities": {}}, "capabilities", id="what may be absent"),
        pytest.param({"__test__": False}, "switches all of its tests off", id="all of it"),
        pytest.param({"absent": {"tie": "x"}}, "'tie' to be absent, did you mean 'ties'", id="a misspelt capability"),
        pytest.param({"absent": {"ties": " "}}, "needs a reason", id="no reason"),
    ],
)
def test_subclass_cannot_weaken_a_suite(body: dict[str, Any], said: str) -> None:
    """Replaced, removed or switched off: it fails when the class is made, and says what to do."""
    with pytest.raises(TypeError, match="TestIt weakens RankerContract") as caught:
        type("TestIt", (RankerContract,), {"__module__": __name__, **body})
    assert said in str(caught.value)


def test_mixin_and_further_subclass_cannot_weaken_a_suite() -> None:
    """However deep the change lies."""
    with pytest.raises(TypeError, match="cannot be replaced"):
        type("TestIt", (Mixin, RankerContract), {"__module__": __name__})
    fine = type("TestIt", (RankerContract,), {"__module__": __name__, "make": lambda self: FakeRanker()})
    with pytest.raises(TypeError, match="cannot be replaced"):
        type("TestMore", (fine,), {"__module__": __name__, "test_it_is_a_ranker": None})


def test_change_after_the_class_was_made_fails_a_test() -> None:
    """What is assigned later is found when the suite runs."""

    class TestIt(RankerContract):
        def make(self) -> FakeRanker:
            return FakeRanker()

    TestIt().test_the_suite_is_whole()
    TestIt.test_no_items_are_no_error = lambda self: None  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="test_no_items_are_no_error"):
        TestIt().test_the_suite_is_whole()


def test_tests_of_ones_own_stand_beside_those_of_the_suite() -> None:
    """A subclass may add."""

    class TestIt(RankerContract):
        def make(self) -> FakeRanker:
            return FakeRanker()

        def test_mine(self) -> None:
            return

    TestIt().test_the_suite_is_whole()


def test_absence_that_is_none_fails() -> None:
    """What is declared absent and works is reported."""

    class TestIt(RankerContract):
        absent = {"ties": "it sorts by id"}  # noqa: RUF012 - as authors write it

        def make(self) -> FakeRanker:
            return FakeRanker()

    with pytest.raises(AssertionError, match="declared absent and yet it works: ties"):
        TestIt().test_what_is_declared_absent_does_not_work()


def test_absence_is_a_skip_with_its_reason() -> None:
    """A declared absence shows in the report."""

    class TestIt(ConnectorContract):
        absent = {"streaming": "the service has none"}  # noqa: RUF012 - as authors write it

        def make(self, url: str) -> FakeConnector:
            return FakeConnector()

    with pytest.raises(pytest.skip.Exception, match="streaming is absent: the service has none"):
        TestIt().test_stream_returns_the_whole_answer()


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_every_capability_can_be_looked_for(suite: type[Contract]) -> None:
    """No capability can be declared absent that the suite could not find after all."""

    class TestIt(ConnectorContract):
        def make(self, url: str) -> FakeConnector:
            return FakeConnector()

    for name in suite.capabilities:
        if not hasattr(suite, f"_check_{name}"):
            # The connector's options and refusals are looked for by their names, and not without a wire.
            with pytest.raises(pytest.skip.Exception):
                TestIt()._probe(name)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_every_test_says_what_to_fix(suite: type[Contract]) -> None:
    """A docstring says what holds, what to fix, and for what may be absent its name."""
    for name in names_of(suite):
        said = getattr(suite, name).__doc__ or ""
        assert "Fix:" in said, f"{suite.__name__}.{name} does not say what to fix"


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_every_suite_and_test_stands_in_the_readme(suite: type[Contract]) -> None:
    """The tables of the README are the suites."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "test-a-plugin.md").read_text("utf-8")
    section = page.partition(f"### {suite.__name__}\n")[2].partition("\n##")[0]
    told = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `test_")]
    shared = names_of(Contract)
    assert sorted(told) == [name for name in names_of(suite) if name not in shared]
    assert all(f"`{name}`" in section for name in suite.capabilities), "a capability is not in the README"
    assert all(f"`{name}`" in page for name in shared)


FIVE_LINES = """
from nexus_core.testing import FakeConnector, ConnectorContract

class TestFake(ConnectorContract):
    absent = {"cap": "there is no wire"}

    def make(self, url):
        return FakeConnector(replies=["The mill opens at noon."])
"""


def test_suite_runs_in_a_bare_pytest(tmp_path: Path) -> None:
    """No configuration and no plugin are needed, warnings may be errors, and each absence is in the report."""
    (tmp_path / "test_fake.py").write_text(FIVE_LINES)
    arguments = ["-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error", "-q", "-rs", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cap is absent: there is no wire" in done.stdout
    assert "no wire: `dialect = None`" in done.stdout

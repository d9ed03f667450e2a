"""What all contract suites share: they cannot be weakened silently, and what is absent is declared with its reason."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

import pytest

from nexus_core.toolkit.suggest import did_you_mean, listed

_HERE = __name__.rpartition(".")[0]
_P = ParamSpec("_P")
_T = TypeVar("_T")

TEST_LIMIT_S = 60.0
"""How long one test of a suite may take before it counts as hanging."""


class Contract:
    """The root of the suites.

    A subclass in your tests gives what the suite asks for (`hooks`), and declares in `absent` what your component
    cannot do: `absent = {"streaming": "the service has none"}`. Each absence is a skip with its reason in the report,
    and an absence that is none is a failure. Tests of your own may stand beside those of the suite.
    """

    absent: ClassVar[Mapping[str, str]] = {}
    """What the component cannot do, each with the reason."""
    hooks: ClassVar[frozenset[str]] = frozenset({"absent"})
    """What a subclass may define of what the suite has."""
    capabilities: ClassVar[Mapping[str, str]] = {}
    """What may be absent: name and meaning."""
    _suite: ClassVar[type[Contract]]
    _whole: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Refuse a subclass that changes a test, or declares an absence that the suite does not know."""
        super().__init_subclass__(**keywords)
        if cls.__module__.startswith(_HERE):
            cls._suite = cls
            cls._whole = _members(cls)
            return
        problems = _weakened(cls)
        if problems:
            raise TypeError(f"{cls.__name__} weakens {cls._suite.__name__}: " + "; ".join(problems))

    def _needs(self, capability: str) -> None:
        """Skip the test where a capability is declared absent, with its reason."""
        if capability in self.absent:
            pytest.skip(f"{capability} is absent: {self.absent[capability]}")

    def _probe(self, capability: str) -> bool:
        """Tell whether a capability is there, absent or not; may also raise where it is not."""
        getattr(self, f"_check_{capability}")()
        return True

    def test_the_suite_is_whole(self) -> None:
        """Every test of the suite is the suite's own.

        Fix: remove what replaces or deletes a test. What the component cannot do is declared in `absent`.
        """
        problems = _weakened(type(self))
        assert not problems, "; ".join(problems)

    def test_what_is_declared_absent_does_not_work(self) -> None:
        """An absence that is declared is one.

        Fix: remove the capability from `absent`: the component has it, so its tests can hold it.
        """
        working = [name for name in self.absent if _works(self, name)]
        assert not working, f"declared absent and yet it works: {listed(working)}; remove it from `absent`"


def _weakened(cls: type[Contract]) -> list[str]:
    """Return what is wrong with a subclass, one text each."""
    suite, found = cls._suite, []
    for name, member in cls._whole.items():
        if name not in suite.hooks and inspect.getattr_static(cls, name, None) is not member:
            found.append(
                f"`{name}` belongs to the suite and cannot be replaced or removed; "
                f"what the component cannot do is declared in `absent`, and only {listed(sorted(suite.hooks))} "
                "may be defined"
            )
    if not cls.__dict__.get("__test__", True):
        found.append("`__test__` switches all of its tests off")
    for name, reason in cls.absent.items():
        if name not in suite.capabilities:
            close = did_you_mean(name, suite.capabilities)
            known = listed(sorted(suite.capabilities)) or "none"
            found.append(f"there is no capability {name!r} to be absent{close}; known: {known}")
        elif not (isinstance(reason, str) and reason.strip()):
            found.append(f"absent[{name!r}] needs a reason, for whoever reads the report")
    return found


def _members(suite: type) -> dict[str, Any]:
    """Return all that a suite defines, by name."""
    names = {name for cls in suite.__mro__ if cls.__module__.startswith(_HERE) for name in vars(cls)}
    return {
        name: inspect.getattr_static(suite, name)
        for name in names
        if not name.startswith("__") and name not in ("_suite", "_whole")
    }


def _works(suite: Contract, capability: str) -> bool:
    try:
        return suite._probe(capability)
    except (Exception, pytest.skip.Exception):  # noqa: BLE001 - however it fails, it does not work
        return False


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a loop of its own, so that the suites need no plugin of pytest; fails where it hangs."""

    async def limited() -> _T:
        limit = asyncio.timeout(TEST_LIMIT_S)
        try:
            async with limit:
                return await work
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise AssertionError(f"this hangs: it took more than {TEST_LIMIT_S:g} s") from error

    return asyncio.run(limited())


def looped(test: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Make a test of one that is a coroutine: it runs in a loop of its own, with the fixtures that it names."""

    @wraps(test)
    def run_test(*args: _P.args, **kwargs: _P.kwargs) -> None:
        run(test(*args, **kwargs))

    return run_test


@asynccontextmanager
async def opened(component: _T) -> AsyncIterator[_T]:
    """Open a component as the runner does: entered if it is an async context manager, and closed at the end."""
    if isinstance(component, AbstractAsyncContextManager):
        async with component:
            yield component
    else:
        yield component

"""What the suites of embedders and rerankers share: requests that are no prompts, and how they fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from nexus_core.contract.errors import ConnectorError
from nexus_core.testing.contracts.calls import check_requests
from nexus_core.testing.contracts.suite import Contract, opened, run
from nexus_core.testing.script import Step
from nexus_core.testing.upstream import ScriptedUpstream, http_answer
from nexus_core.testing.watching import shown_by

_GARBAGE = {"html": b"<html>", "empty": b"", "json": b"{}", "list": b"[]", "text": b'"x"'}
_STATUSES = (400, 401, 404, 429, 500, 503)


class TextRequestSuite(Contract):
    """The root of the suites of what a connector may be able to do besides."""

    canary: ClassVar[str] = "canary-6f1d0b52c8e94a37"
    """The key that `make` gives the connector: it may be shown nowhere."""

    def make(self, url: str) -> Any:
        """Return a connector for the service at `url` (up to /v1), with `self.canary` for its key."""
        raise AssertionError("define make(self, url): return your connector")

    def _body(self, count: int) -> bytes | None:
        """Return a good answer for so many texts; `None` where there is no service."""
        raise NotImplementedError

    async def _ask(self, connector: Any, count: int) -> Sequence[Any]:
        """Ask for so many texts."""
        raise NotImplementedError

    async def _served(self, script: Sequence[Step], count: int) -> Sequence[Any]:
        """Return what a connector makes of an answer; fails where it takes more than one request."""
        async with ScriptedUpstream(script) as upstream, opened(self.make(upstream.url)) as connector:
            try:
                return await self._ask(connector, count)
            finally:
                check_requests(upstream, 1)

    def _fails(self, script: Sequence[Step], count: int, after: str) -> None:
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever comes is what the test looks at
            run(self._served(script, count))
        error = caught.value
        assert not isinstance(error, AssertionError), f"{after}: {error}"
        assert isinstance(error, ConnectorError), f"{after}: {type(error).__name__} is no ConnectorError"
        assert self.canary not in shown_by(error), f"{after}: the key stands in the error, or in one behind it"

    def _needs_service(self) -> None:
        if self._body(1) is None:
            pytest.skip("there is no service: `answer` returns None")

    @pytest.mark.parametrize("status", _STATUSES)
    def test_refusal_is_a_connector_error(self, status: int) -> None:
        """Whatever the service refuses with, it is a ConnectorError, of one request, and shows no key.

        Fix: map the service's errors as for prompts, and leave retries to the engine.
        """
        self._needs_service()
        body = f'{{"error": {{"message": "no {self.canary}"}}}}'.encode()
        self._fails(http_answer(body, status=status), 1, f"status {status}")

    @pytest.mark.parametrize("garbage", _GARBAGE)
    def test_garbage_is_a_connector_error(self, garbage: str) -> None:
        """What is no answer is a ProtocolError or another ConnectorError.

        Fix: check the shape of what comes, before anything is taken from it.
        """
        self._needs_service()
        self._fails(http_answer(_GARBAGE[garbage]), 2, f"the answer {_GARBAGE[garbage]!r}")

    def test_missing_results_are_a_connector_error(self) -> None:
        """Fewer results than texts are no answer: they would belong to the wrong texts.

        Fix: count what comes.
        """
        self._needs_service()
        body = self._body(1)
        assert body is not None
        self._fails(http_answer(body), 3, "one result for three texts")

    def test_a_cut_answer_is_a_connector_error(self) -> None:
        """Half an answer never passes for one.

        Fix: read the body to its declared end.
        """
        self._needs_service()
        body = self._body(3)
        assert body is not None
        self._fails(http_answer(body[: len(body) // 2]), 3, "half an answer")

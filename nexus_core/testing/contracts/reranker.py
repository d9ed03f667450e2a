"""The suite of rerankers: one relevance for each text, in one request, and errors as those of any other call.

class TestAcmeRelevance(RerankerContract):
    def make(self, url):
        return Acme(model="m", base_url=url, api_key=Secret(self.canary))

    def answer(self, relevances):
        rows = [{"index": n, "relevance_score": value} for n, value in enumerate(relevances)]
        return json.dumps({"results": rows}).encode()
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from nexus_core.contract.protocols import Reranker
from nexus_core.testing.contracts.suite import run
from nexus_core.testing.contracts.text_requests import TextRequestSuite
from nexus_core.testing.upstream import http_answer

QUERY = "Is the mill open? ⛵"
TEXTS = ("The café is closed.", "The mill is open.", "ünïcödé 字")
"""What the suite asks the relevance of."""
_RELEVANCES = (0.25, 0.75, -0.5)


class RerankerContract(TextRequestSuite):
    """Holds a reranker to the contract; a subclass defines `make` and, where there is a service, `answer`."""

    hooks = frozenset({"absent", "make", "answer", "canary"})

    def make(self, url: str) -> Any:
        """Return a connector that is a Reranker, for the service at `url` (up to /v1)."""
        raise AssertionError("define make(self, url): return your connector, with base_url=url and the key self.canary")

    def answer(self, relevances: Sequence[float]) -> bytes | None:
        """Return the body by which the service gives these relevances; `None` where there is no service."""
        return None

    def _body(self, count: int) -> bytes | None:
        return self.answer(_RELEVANCES[:count])

    async def _ask(self, connector: Any, count: int) -> Sequence[Any]:
        found: Sequence[Any] = await connector.rerank(QUERY, TEXTS[:count])
        return found

    def test_it_is_a_reranker(self) -> None:
        """It can be asked for the relevance of texts.

        Fix: write `async rerank(query, texts)`.
        """
        assert isinstance(self.make("http://127.0.0.1:9/v1"), Reranker), "rerank is needed"

    def test_each_text_has_its_relevance(self) -> None:
        """As many finite numbers as texts, in the order of the texts and not of their relevance.

        Fix: put what the service gives back by its index.
        """
        body = self._body(len(TEXTS))
        found = run(self._served([] if body is None else http_answer(body), len(TEXTS)))
        assert len(found) == len(TEXTS), f"{len(TEXTS)} texts have {len(found)} relevances"
        assert all(isfinite(number) for number in found), "a relevance is not finite"
        if body is not None:
            assert list(found) == list(_RELEVANCES), "the relevances are not those of the service, in their order"

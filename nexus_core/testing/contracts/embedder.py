"""The suite of embedders: one vector for each text, in one request, and errors as those of any other call.

class TestAcmeVectors(EmbedderContract):
    def make(self, url):
        return Acme(model="m", base_url=url, api_key=Secret(self.canary))

    def answer(self, vectors):
        return json.dumps({"data": [{"embedding": vector} for vector in vectors]}).encode()
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from nexus_core.contract.protocols import Connector, Embedder
from nexus_core.testing.contracts.suite import opened, run
from nexus_core.testing.contracts.text_requests import TextRequestSuite
from nexus_core.testing.script import Step
from nexus_core.testing.upstream import ScriptedUpstream, http_answer

TEXTS = ("The mill is open.", "ünïcödé ⛵ 字", "The mill is open.", "x")
"""What the suite asks vectors of; two are the same."""
_VECTORS = ((0.5, -1.0, 0.25), (1.0, 0.0, 0.0), (0.5, -1.0, 0.25), (0.0, 0.125, -2.0))

_CLOSE = 1e-6
"""Services round to single precision."""


class EmbedderContract(TextRequestSuite):
    """Holds an embedder to the contract; a subclass defines `make` and, where there is a service, `answer`."""

    hooks = frozenset({"absent", "make", "answer", "canary"})

    def make(self, url: str) -> Any:
        """Return a connector that is an Embedder, for the service at `url` (up to /v1)."""
        raise AssertionError("define make(self, url): return your connector, with base_url=url and the key self.canary")

    def answer(self, vectors: Sequence[Sequence[float]]) -> bytes | None:
        """Return the body by which the service gives these vectors; `None` where there is no service."""
        return None

    def _body(self, count: int) -> bytes | None:
        return self.answer(_VECTORS[:count])

    async def _ask(self, connector: Any, count: int) -> Sequence[Any]:
        found: Sequence[Any] = await connector.embed(TEXTS[:count])
        return found

    def test_it_is_an_embedder(self) -> None:
        """Its vectors have a name, and it tells how many texts it takes, without any connection.

        Fix: have `embedding_id` and `embedding_batch` as properties, and `async embed(texts)`.
        """
        run(self._shaped())

    async def _shaped(self) -> None:
        async with ScriptedUpstream([]) as upstream:
            connector = self.make(upstream.url)
            assert isinstance(connector, Connector), "an embedder is a connector besides"
            assert isinstance(connector, Embedder), "embedding_id, embedding_batch and embed are needed"
            before = connector.embedding_id
            assert isinstance(before, str), "embedding_id is a text"
            assert before.strip(), "embedding_id is empty: what is kept under it would be that of any model"
            assert connector.embedding_batch >= 1, "embedding_batch is how many texts one call takes"
            assert self.make(upstream.url).embedding_id == before, "the same options give another embedding_id"
            async with opened(connector):
                assert connector.embedding_id == before, "embedding_id changes when the connector is opened"
            assert not upstream.connections, "opening, closing or embedding_id called the service"

    def test_each_text_has_its_vector(self) -> None:
        """As many vectors as texts, in their order, of finite numbers, all of one length.

        Fix: sort what the service gives by its index, and refuse what is no vector.
        """
        found = run(self._served(self._steps(len(TEXTS)), len(TEXTS)))
        assert len(found) == len(TEXTS), f"{len(TEXTS)} texts have {len(found)} vectors"
        vectors = [list(vector) for vector in found]
        assert all(isfinite(number) for vector in vectors for number in vector), "a vector holds what is not finite"
        assert len({len(vector) for vector in vectors}) == 1, "the vectors differ in length"
        assert vectors[0] == vectors[2], "the same text has two vectors"
        if self.answer(_VECTORS) is not None:
            wanted = [list(vector) for vector in _VECTORS]
            same = [len(one) == len(other) and max(map(_distance, one, other)) < _CLOSE
                    for one, other in zip(vectors, wanted, strict=True)]  # fmt: skip
            assert all(same), "the vectors are not those of the service"

    def _steps(self, count: int) -> list[Step]:
        body = self._body(count)
        return [] if body is None else http_answer(body)


def _distance(one: float, other: float) -> float:
    return abs(one - other)

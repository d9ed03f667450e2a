"""What makes vectors of texts: the static table of a wheel, a model of sentences, or a connector."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from nexus_core import Embedder, PluginError, RankerError, RunContext

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]


class Encoder(Protocol):
    """Makes vectors of unit length."""

    @property
    def name(self) -> str:
        """What makes them: vectors of one name can be compared."""

    @property
    def batch(self) -> int:
        """How many texts it takes at a time."""

    @property
    def at_once(self) -> int:
        """How many batches may be under way together."""

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a vector for each text, none of which is blank."""


@frozen(eq=False)
class ConnectorEncoder:
    """Asks a connector."""

    connector: Embedder
    at_once: int

    @property
    def name(self) -> str:
        """As the connector says it."""
        return self.connector.embedding_id

    @property
    def batch(self) -> int:
        """As the connector says it."""
        return max(1, self.connector.embedding_batch)

    def bound_to(self, run: RunContext) -> ConnectorEncoder:
        """Return the encoder whose requests are calls of a run."""
        return ConnectorEncoder(run.bind(self.connector), self.at_once)

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of one request; its ConnectorErrors pass."""
        import numpy as np

        from nexus_rankers.top_k import unit

        found = await self.connector.embed(texts)
        try:
            vectors = np.array(found, np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise _wrong(f"what is no vector: {type(error).__name__}") from error
        if vectors.ndim != 2 or len(vectors) != len(texts) or not vectors.shape[1] or not np.isfinite(vectors).all():
            raise _wrong(f"an array of {vectors.shape} for {len(texts)} texts, or numbers that are not finite")
        return unit(vectors)


def _wrong(what: str) -> RankerError:
    return RankerError(f"ranker 'semantic': the connector returned {what}: tell the author of its plugin")


def require(module: str, extra: str, model: str) -> None:
    """Raise PluginError where a package is not there; looks for it without importing it."""
    if find_spec(module) is None:
        raise PluginError(
            f"ranker 'semantic' with `model: {model}` needs the package {module}: pip install 'contextnexus[{extra}]'"
        )

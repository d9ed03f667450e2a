"""Text embedders: what turns texts into vectors of unit length, on this machine or by a connector.

A distribution names kinds of embedders in the entry-point group `contextnexus.embedders`, as
`acme = "acme_embedders:AcmeModels"`. Only these names are looked at until one of them is used: importing the module of
a kind and asking it for problems is cheap, loading a model is not.

    class AcmeModels:
        def problem(self, model):
            return "" if find_spec("acme") else "it needs the package acme: pip install acme"

        def load(self, model, *, download=False):
            return AcmeEmbedder(...)

One vector stands for a text here. What makes several vectors, or weights of words, is another protocol beside this one:
who loads by name asks `isinstance(embedder, TextEmbedder)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nexus_core.contract.features import FeatureKey, vector_key
from nexus_core.contract.values import Item
from nexus_core.toolkit.embedding.model_folders import InstalledModel
from nexus_core.toolkit.text.segmentation import passages

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

EMBEDDER_GROUP = "contextnexus.embedders"
PART_TOKENS = 96
"""About how many tokens of an item make one vector, in whole sentences."""
KEPT_NUMBERS = "<f2"
"""The numbers of a kept vector: little-endian halves."""
_LONGEST_TITLE = 300
"""Characters: it stands in front of every part."""


@runtime_checkable
class TextEmbedder(Protocol):
    """Makes one vector of unit length for each text: the product of two is their cosine.

    May be used by several threads and event loops at once. One that has something to open is an async context manager
    besides.
    """

    @property
    def embedding_id(self) -> str:
        """Names what makes the vectors: those of one id, and no others, can be compared. The same on every machine."""

    @property
    def batch(self) -> int:
        """How many texts are best given at a time."""

    @property
    def at_once(self) -> int:
        """How many batches may be under way together."""

    @property
    def dimensions(self) -> int | None:
        """How many numbers a vector has; `None` where only the first answer of a service tells."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a row for each text, in their order; a text of which nothing is known has zeros."""


@runtime_checkable
class EmbedderKind(Protocol):
    """Makes embedders: what an entry point names, a class that is built without arguments."""

    def problem(self, model: str) -> str:
        """Return why a model cannot be used, and the command that mends it; empty where it can.

        Imports nothing heavy. `model` is the name of the entry point, what stands behind `NAME:`, or a folder's path.
        """

    def load(self, model: str, *, download: bool = False) -> TextEmbedder:
        """Load a model, which may take seconds; raises PluginError. The network is used with `download` alone."""


class CrossEncoder(Protocol):
    """Reads a query and a text together and says how well the one answers the other, on this machine.

    May be used by several runs and event loops at once.
    """

    async def relevance(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return a finite number for each text, higher is better; one that is too long has that of its best part.

        Raises PluginError where the model cannot run.
        """


@runtime_checkable
class CrossEncoderKind(Protocol):
    """A kind of embedder whose folders may hold cross-encoders instead: the same libraries run both."""

    def cross_encoder_problem(self, folder: str) -> str:
        """Return why a folder cannot be used, and the command that mends it; empty where it can.

        Imports nothing heavy.
        """

    def load_cross_encoder(self, folder: str) -> CrossEncoder:
        """Load the model of a folder, which may take seconds; no network ever. Raises PluginError."""


@runtime_checkable
class InstallableKind(Protocol):
    """A kind of embedder whose one model `nexus models install` puts into the user's folder of models."""

    def install(self, source: Path | None, tell: Callable[[str], None]) -> InstalledModel:
        """Install the model from a file, or fetch it where none is given; raises PluginError.

        `tell` is given a line about each thing that takes long.
        """


# What is embedded of an item: the same parts under the same key wherever, so that one's vectors serve the other


def item_parts(item: Item, tokens: int = PART_TOKENS, prefix: str = "") -> list[str]:
    """Return the parts of an item, each of a few sentences under its title; none where there is no text at all."""
    title = item.title[:_LONGEST_TITLE].strip()
    cuts = [item.text[part[0][0] : part[-1][1]] for part in passages(item.text, item.kind, tokens)]
    texts = [f"{title}\n{text}" if title else text for text in cuts or [""]]
    return [prefix + text for text in texts if text.strip()]


def item_vectors_key(embedding_id: str, tokens: int = PART_TOKENS, prefix: str = "") -> FeatureKey[bytes]:
    """Return what the vectors of an item's parts are kept under."""
    return vector_key(f"{embedding_id}/{tokens}{f'/{prefix}' if prefix else ''}")

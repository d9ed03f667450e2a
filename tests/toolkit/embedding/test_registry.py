"""Embedders by name: those of other distributions, folders, connectors, and what is said of names that mean none."""

from __future__ import annotations

import gc
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from nexus_core import PluginError
from nexus_core.toolkit import ConnectorEmbedder, TextEmbedder, embedder_named, embedder_names, embedder_problem
from nexus_core.toolkit.embedding.registry import EmbedderName, EmbedderRegistry

ACME = """
    import numpy as np

    class Letters:
        batch, at_once, dimensions = 10, 1, 2

        def __init__(self, model):
            self.embedding_id = f"acme:{model}"

        async def embed(self, texts):
            return np.array([[1.0, 0.0] for _ in texts], np.float32)

    class Acme:
        def problem(self, model):
            return "" if model != "gone" else "it is gone: pip install acme"

        def load(self, model, *, download=False):
            return Letters(model)

    class Half:
        def problem(self, model):
            return ""
"""

Kinds = Callable[..., EmbedderRegistry]


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kinds:
    """Make a registry of the kinds of a module, each named for its class."""
    (tmp_path / "acme_embedders.py").write_text(textwrap.dedent(ACME))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_embedders", raising=False)

    def build(*names: str) -> EmbedderRegistry:
        group = "contextnexus.embedders"
        points = [EntryPoint(name.lower(), f"acme_embedders:{name}", group) for name in names]
        plugins = [EntryPoint("openai", "nexus_openai.connector", "contextnexus")]
        return EmbedderRegistry([*points, EntryPoint("onnx", "acme_embedders:Acme", group)], plugins)

    return build


async def test_a_plugin_brings_its_own_embedders(kinds: Kinds) -> None:
    """By the name of its entry point, and by what stands behind it."""
    registry = kinds("Acme")
    embedder = registry.load("acme:letters")
    assert isinstance(embedder, TextEmbedder)
    assert (embedder.embedding_id, registry.load("acme").embedding_id) == ("acme:letters", "acme:acme")
    assert (await embedder.embed(["a", "b"])).shape == (2, 2)


def test_an_embedder_is_loaded_once_while_somebody_holds_it(kinds: Kinds) -> None:
    """All who ask for it have the same one; nobody's goes."""
    registry = kinds("Acme")
    first = registry.load("acme")
    assert registry.load("acme") is first
    assert registry.load("acme:other") is not first
    del first
    gc.collect()
    assert len(registry._loaded) == 0


def test_a_problem_is_told_before_anything_is_loaded(kinds: Kinds) -> None:
    """And is the error of who loads all the same."""
    registry = kinds("Acme")
    assert registry.problem("acme") == ""
    assert registry.problem("acme:gone") == "the embedder 'acme:gone' cannot be used: it is gone: pip install acme"
    with pytest.raises(PluginError, match="it is gone: pip install acme"):
        registry.load("acme:gone")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("minlm", ", did you mean 'minilm'?: "),
        ("openai", ", say which model of it, as openai:MODEL: "),
        ("quite-another", "static, folders of models and PLUGIN:MODEL): "),
        (str(Path(__file__).parent), " (the folder has no model.onnx): "),
    ],
)
def test_a_name_that_is_none_tells_which_there_are(name: str, told: str) -> None:
    """What may be meant comes before what a model of sentence-transformers would need."""
    assert told in embedder_problem(name)


@pytest.mark.parametrize("name", ["Half", "Nowhere"])
def test_a_kind_that_is_none_names_its_class(kinds: Kinds, name: str) -> None:
    """For whoever wrote it."""
    assert f"acme_embedders:{name}" in kinds(name).problem(name.lower())
    assert kinds(name).installable() == {}


def test_a_folder_goes_by_what_is_in_it(kinds: Kinds, tmp_path: Path) -> None:
    """As seen from another folder; a name of a kind goes before a folder of that name."""
    for name in ("sea", "acme"):
        (tmp_path / name).mkdir()
    registry = kinds("Acme")
    assert registry.resolve("sea", tmp_path) == EmbedderName("sentence-transformers", str(tmp_path / "sea"))
    (tmp_path / "sea" / "model.onnx").write_bytes(b"")
    assert registry.resolve("./sea", tmp_path) == EmbedderName("onnx", str(tmp_path / "sea"))
    assert registry.resolve("acme:./sea", tmp_path) == EmbedderName("acme", str(tmp_path / "sea"))
    assert registry.resolve("acme", tmp_path) == EmbedderName("acme", "acme")


def test_a_connector_that_embeds_is_named_with_its_model(kinds: Kinds) -> None:
    """Its key is looked for when it is asked."""
    embedder = kinds().load("openai:text-embedding-3-small")
    assert isinstance(embedder, ConnectorEmbedder)
    assert embedder.embedding_id.endswith(":text-embedding-3-small")
    assert embedder.dimensions is None


def test_a_connector_that_does_not_embed_is_a_problem() -> None:
    """Told without asking it."""
    assert "has no connector that embeds" in embedder_problem("extractive:any")
    with pytest.raises(PluginError, match="has no connector that embeds"):
        embedder_named("extractive:any")


def test_what_is_installed_with_this_distribution_has_names() -> None:
    """Which pipelines, commands and stores say."""
    assert {"minilm", "onnx", "sentence-transformers", "static"} <= {*embedder_names()}
    assert embedder_named("static").embedding_id == "static:l2_supercat_256"

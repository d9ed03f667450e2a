"""Finds embedders by name, with the entry-point metadata of what is installed alone.

A name is that of an entry point (`static`, `minilm`), the path of a folder that holds a model, `NAME:MODEL` of an entry
point or a connector (`openai:text-embedding-3-small`), or else a model of sentence-transformers on this machine.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from attrs import frozen

from nexus_core.contract.errors import PluginError, describe_error
from nexus_core.contract.hookspecs import ENTRY_POINT_GROUP, installed_entry_points
from nexus_core.contract.protocols import Embedder
from nexus_core.toolkit.embedding.embedder import (
    EMBEDDER_GROUP,
    CrossEncoder,
    CrossEncoderKind,
    EmbedderKind,
    InstallableKind,
    TextEmbedder,
)
from nexus_core.toolkit.embedding.model_folders import expand_home
from nexus_core.toolkit.suggest import did_you_mean, instead

ONNX_FILE = "model.onnx"
"""What a folder holds that is run by onnxruntime."""
_OF_ONNX = "onnx"
_OF_ANY_NAME = "sentence-transformers"
"""The kinds that folders and names of models belong to."""


@frozen
class EmbedderName:
    """What a name means: the model of a kind, or of a connector."""

    kind: str
    model: str
    is_connector: bool = False


class EmbedderRegistry:
    """The kinds of embedders there are; imports each when it is first used, and shares what is loaded.

    While somebody holds an embedder, whoever asks for the same one gets it, and not a second copy in memory.
    """

    def __init__(self, kinds: Iterable[EntryPoint], plugins: Iterable[EntryPoint] = ()) -> None:
        self._kinds = {point.name: point for point in kinds}
        self._plugins: Mapping[str, EntryPoint] = {point.name: point for point in plugins}
        self._made: dict[str, EmbedderKind] = {}
        self._loaded: WeakValueDictionary[EmbedderName, Any] = WeakValueDictionary()
        self._cross_encoders: WeakValueDictionary[EmbedderName, Any] = WeakValueDictionary()
        self._loading = Lock()

    @classmethod
    def installed(cls) -> EmbedderRegistry:
        """Return those of the installed distributions; reads metadata and imports nothing."""
        return cls(installed_entry_points(EMBEDDER_GROUP), installed_entry_points(ENTRY_POINT_GROUP))

    @property
    def names(self) -> Sequence[str]:
        """The names of all kinds, sorted."""
        return sorted(self._kinds)

    def resolve(self, name: str, base_dir: str | Path = ".") -> EmbedderName:
        """Return what a name means; the path of a folder is seen from `base_dir`."""
        if name in self._kinds:
            return EmbedderName(name, name)
        folder = (Path(base_dir) / expand_home(name)).absolute()
        if folder.is_dir():
            return EmbedderName(_OF_ONNX if (folder / ONNX_FILE).exists() else _OF_ANY_NAME, str(folder))
        before, colon, model = name.partition(":")
        if colon and model and before in self._kinds:
            path = (Path(base_dir) / expand_home(model)).absolute()
            return EmbedderName(before, str(path) if path.is_dir() else model)
        if colon and model and before in self._plugins:
            return EmbedderName(before, model, is_connector=True)
        return EmbedderName(_OF_ANY_NAME, name)

    def problem(self, name: str, base_dir: str | Path = ".") -> str:
        """Return why an embedder cannot be used, and the command that mends it; empty where it can."""
        try:
            meant = self.resolve(name, base_dir)
            if meant.is_connector:
                _connector_class(self._plugins[meant.kind])
                return ""
            problem = self.kind(meant.kind).problem(meant.model)
        except PluginError as error:
            return str(error)
        hint = self._hint(name) if problem and meant == EmbedderName(_OF_ANY_NAME, name) else ""
        if problem and meant.kind == _OF_ANY_NAME and Path(meant.model).is_dir():
            hint = f" (the folder has no {ONNX_FILE})"
        return f"the embedder {name!r} cannot be used{hint}: {problem}" if problem else ""

    def _hint(self, name: str) -> str:
        """Return what somebody may have meant by a name that is no kind, folder or connector here."""
        if name in self._plugins:
            return f", say which model of it, as {name}:MODEL"
        others = f" (there are {', '.join(self.names)}, folders of models and PLUGIN:MODEL)"
        return did_you_mean(name, self._kinds) or others

    def load(self, name: str, base_dir: str | Path = ".", *, download: bool = False) -> TextEmbedder:
        """Return an embedder, which may take seconds where it is not loaded yet; raises PluginError."""
        meant = self.resolve(name, base_dir)
        if meant.is_connector:
            from nexus_core.toolkit.embedding.vectors import ConnectorEmbedder  # numpy, for those who embed

            return ConnectorEmbedder(_build_connector(self._plugins[meant.kind], meant.model))
        with self._loading:
            known = self._loaded.get(meant)
            if known is None:
                problem = self.problem(name, base_dir)
                if problem:
                    raise PluginError(problem)
                known = self.kind(meant.kind).load(meant.model, download=download)
                self._loaded[meant] = known
        embedder: TextEmbedder = known
        return embedder

    def cross_encoder_problem(self, name: str, base_dir: str | Path = ".") -> str:
        """Return why a cross-encoder cannot be used, and the command that mends it; empty where it can."""
        try:
            meant = self._resolve_cross_encoder(name, base_dir)
            problem = self._cross_encoder_kind(meant).cross_encoder_problem(meant.model)
        except (OSError, ValueError) as error:  # of a path that can be none
            problem = str(error)
        except PluginError as error:
            return str(error)
        return f"the cross-encoder {name!r} cannot be used: {problem}" if problem else ""

    def load_cross_encoder(self, name: str, base_dir: str | Path = ".") -> CrossEncoder:
        """Return the cross-encoder of a folder, shared as embedders are; raises PluginError."""
        meant = self._resolve_cross_encoder(name, base_dir)
        with self._loading:
            known = self._cross_encoders.get(meant)
            if known is None:
                problem = self.cross_encoder_problem(name, base_dir)
                if problem:
                    raise PluginError(problem)
                known = self._cross_encoder_kind(meant).load_cross_encoder(meant.model)
                self._cross_encoders[meant] = known
        encoder: CrossEncoder = known
        return encoder

    def _resolve_cross_encoder(self, name: str, base_dir: str | Path) -> EmbedderName:
        """Return whose model a folder holds: that of ONNX, or of the kind in `KIND:FOLDER`."""
        kind, colon, folder = name.partition(":")
        if not colon or kind not in self._kinds:
            kind, folder = _OF_ONNX, name
        return EmbedderName(kind, str((Path(base_dir) / expand_home(folder)).absolute()))

    def _cross_encoder_kind(self, meant: EmbedderName) -> CrossEncoderKind:
        kind = self.kind(meant.kind)
        if not isinstance(kind, CrossEncoderKind):
            raise PluginError(f"the kind of embedders {meant.kind!r} runs no cross-encoders: give the path of a folder")
        return kind

    def installable(self) -> Mapping[str, InstallableKind]:
        """Return the kinds whose model is installed by command; imports all kinds, and passes over broken ones."""
        found: dict[str, InstallableKind] = {}
        for name in self.names:
            with suppress(PluginError):
                kind = self.kind(name)
                if isinstance(kind, InstallableKind):
                    found[name] = kind
        return found

    def kind(self, name: str) -> EmbedderKind:
        """Return what makes the embedders of a kind; raises PluginError where it cannot be imported."""
        if name not in self._made:
            point = self._kinds.get(name)
            if point is None:
                raise PluginError(f"no kind of embedder is named {name!r}{instead(name, self.names, 'installed')}")
            try:
                made = point.load()()
            except Exception as error:
                raise PluginError(f"the embedder {point.value} cannot be used: {describe_error(error)}") from error
            if not isinstance(made, EmbedderKind):
                raise PluginError(f"the embedder {point.value} lacks `problem` or `load`")
            self._made[name] = made
        return self._made[name]


def _connector_class(plugin: EntryPoint) -> type:
    """Return the first connector of a plugin that embeds; raises PluginError where there is none."""
    try:
        module = plugin.load()
    except Exception as error:
        raise PluginError(f"plugin {plugin.name!r} failed at import: {describe_error(error)}") from error
    for connector in module.nexus_connectors() if hasattr(module, "nexus_connectors") else ():
        if inspect.isclass(connector) and hasattr(connector, "embed"):
            return connector
    raise PluginError(f"plugin {plugin.name!r} has no connector that embeds")


def _build_connector(plugin: EntryPoint, model: str) -> Embedder:
    try:
        built: Embedder = _connector_class(plugin)(model=model)
    except (TypeError, ValueError) as error:
        raise PluginError(f"the connector {plugin.name!r} cannot be built: {error}") from error
    return built


@lru_cache(1)
def installed_embedders() -> EmbedderRegistry:
    """Return the registry of this process."""
    return EmbedderRegistry.installed()


def embedder_named(name: str, base_dir: str | Path = ".", *, download: bool = False) -> TextEmbedder:
    """Return an embedder by its name, shared within the process; raises PluginError that says what to do.

    Call it in a thread: a model that is not loaded yet may take seconds.
    """
    return installed_embedders().load(name, base_dir, download=download)


def cross_encoder_named(name: str, base_dir: str | Path = ".") -> CrossEncoder:
    """Return the cross-encoder of a folder, shared within the process; raises PluginError that says what to do.

    Call it in a thread: a model that is not loaded yet may take seconds.
    """
    return installed_embedders().load_cross_encoder(name, base_dir)


def cross_encoder_problem(name: str, base_dir: str | Path = ".") -> str:
    """Return why the folder of a cross-encoder cannot be used, and the command; empty where it can. Loads no model."""
    return installed_embedders().cross_encoder_problem(name, base_dir)


def embedder_names() -> Sequence[str]:
    """Return the names that embedders have whatever folders there are: `static`, `minilm`."""
    return installed_embedders().names


def embedder_problem(name: str, base_dir: str | Path = ".") -> str:
    """Return why an embedder cannot be used, and the command that mends it; empty where it can. Loads no model."""
    return installed_embedders().problem(name, base_dir)

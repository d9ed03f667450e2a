"""A component named in a file: `bm25`, or `{use: bm25, top: 50}`; the same everywhere, and inside options too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from attrs import define, field

from nexus_core.config.names import listing_of
from nexus_core.config.options import BAD, Options
from nexus_core.config.spec import ComponentSpec, ModelReference, PipelineReference
from nexus_core.config.yaml.problems import Problems, quoted
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, UnreadableNode, shown
from nexus_core.contract.components import Kind, OptionSpec, options_of
from nexus_core.contract.errors import PluginError, describe_error
from nexus_core.contract.run_context import CallablePipeline


class PluginCatalog(Protocol):
    """Plugins by name, imported only when one is asked for."""

    def names(self, kind: Kind) -> Sequence[str]:
        """Return the names that may offer a kind, without importing anything."""

    def component(self, kind: Kind, use: str) -> type:
        """Return the component class that `use` names; raises PluginError with a message for the user."""

    def with_files(self, paths: Sequence[Path]) -> Self:
        """Return a catalogue that has these plugin files besides."""


@define(eq=False, repr=False)
class Components:
    """Finds the components that a file names and checks their options."""

    problems: Problems
    catalogue: PluginCatalog
    used: set[str] = field(factory=set)
    """The plugins that were named."""
    models: Mapping[str, str] = field(factory=dict)
    """From a name or alias of the file's models to the name; empty until these have been read."""
    used_models: set[str] = field(factory=set)
    """The models that options named."""
    not_run: frozenset[str] = frozenset()
    """Plugins whose code is not to be run: of what they offer the name alone is known."""
    find_pipeline: Callable[[Node], PipelineReference | None] = lambda node: None
    """Finds another pipeline that an option names; notes what is wrong with it."""
    options: Options = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.options = Options(
            self.problems,
            self.reference,
            lambda cls, at: self.declared(cls, cls.__name__, at),
            is_model=lambda name: name in self.models,
            called=lambda node: self.find_pipeline(node) or BAD,
        )

    def reference(self, node: Node, kind: Kind) -> Any:
        """Return the ComponentSpec that a node names, or BAD after noting what is wrong."""
        if isinstance(node, UnreadableNode):
            return BAD
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            model = self.model(node) if kind is Kind.CONNECTOR else None
            return model or self._named(node, MappingNode((), node.place), kind)
        if not isinstance(node, MappingNode):
            message = f"a {kind.word} is its name, or a mapping {{use: name, ...}} with options, found {shown(node)}"
            self.problems.error("T001", node.place, message)
            return BAD
        use = self.use(node, kind)
        return BAD if use is None else self._named(use, node, kind)

    def model(self, node: ScalarNode) -> ModelReference | None:
        """Return the model that a text names: what the file itself declares goes before what plugins offer."""
        name = self.models.get(node.text)
        if name is None:
            return None
        self.used_models.add(name)
        return ModelReference(name=name, place=node.place)

    def use(self, node: MappingNode, kind: Kind) -> ScalarNode | None:
        """Return the name in a mapping, or `None` after noting that there is none."""
        use = node.get("use")
        if isinstance(use, ScalarNode) and isinstance(use.value, str):
            return use
        if use is None:
            hint = self._nesting_hint(node, kind)
            self.problems.error("S003", node.place, f"a {kind.word} mapping needs `use`, the {kind.word}'s name{hint}")
        elif not isinstance(use, UnreadableNode):
            self.problems.error("T001", use.place, f"`use` must be the name of a {kind.word}, found {shown(use)}")
        return None

    def find(self, use: ScalarNode, kind: Kind) -> type | None:
        """Return the class of a name; `None` after noting why there is none, and for a plugin that is not run."""
        if self.is_not_run(use.text):
            self.used.add(use.text.partition(".")[0])
            return None
        try:
            cls = self.catalogue.component(kind, use.text)
        except PluginError as error:
            # The catalogue's message repeats the name, which may be a secret that came from the environment.
            message = str(error) if not use.interpolated else f"{shown(use)} is no {kind.word} that can be used"
            self.problems.error("P001", use.place, message)
            return None
        finally:
            self.used.add(use.text.partition(".")[0])
        return cls

    def has_option(self, use: ScalarNode, kind: Kind, option: str) -> bool:
        """Tell whether a component has an option of its own of some name; not for one that cannot be used."""
        if self.is_not_run(use.text):
            return False
        try:
            return any(spec.name == option for spec in options_of(self.catalogue.component(kind, use.text)))
        except Exception:  # noqa: BLE001 - what is wrong with it is told where it is read
            return False

    def tool_names(self, specs: Sequence[ComponentSpec]) -> list[tuple[str, ...] | None]:
        """Return for each of some tools the names of what it offers; `None` where only a run can tell."""
        found = self._class_names(specs, "tool_names")
        return [names or self._named_after(spec) for names, spec in zip(found, specs, strict=True)]

    def _named_after(self, spec: ComponentSpec) -> tuple[str, ...] | None:
        """Return the name that a tool has of a pipeline among its options; `None` where it has none of any."""
        cls = None if self.is_not_run(spec.use) else self.catalogue.component(Kind.TOOL, spec.use)
        called = spec.options.get(getattr(cls, "named_after", ""))
        if not isinstance(called, PipelineReference):
            return None
        return (CallablePipeline(path=called.path, name=called.name).tool_name,)

    def changing_tools(self, specs: Sequence[ComponentSpec]) -> list[str]:
        """Return the names of the tools that change something, as far as they are known before a run."""
        return [name for names in self._class_names(specs, "tool_changes") for name in names or ()]

    def undescribed_tools(self, spec: ComponentSpec) -> list[str]:
        """Return the names of what a tool offers without saying what it is for, as far as that is known."""
        return [name for names in self._class_names([spec], "undescribed_tools") for name in names or ()]

    def _class_names(self, specs: Sequence[ComponentSpec], attribute: str) -> list[tuple[str, ...] | None]:
        found: list[tuple[str, ...] | None] = []
        for spec in specs:
            cls = None if self.is_not_run(spec.use) else self.catalogue.component(Kind.TOOL, spec.use)
            names = getattr(cls, attribute, None)
            found.append(tuple(map(str, names)) if isinstance(names, tuple) else None)
        return found

    def is_not_run(self, use: str) -> bool:
        """Tell whether a name is that of a plugin that is not run."""
        return use.partition(".")[0] in self.not_run

    def declared(self, cls: type, name: str, at: Node) -> Sequence[OptionSpec] | None:
        """Return the options of a class, or `None` after noting that they cannot be read."""
        try:
            return options_of(cls)
        except Exception as error:  # noqa: BLE001 - annotations and defaults are the plugin's code
            reason = describe_error(error)
            self.problems.error("P004", at.place, f"the options of {quoted(name)} cannot be read: {reason}")
            return None

    def _named(self, use: ScalarNode, node: MappingNode, kind: Kind) -> Any:
        cls = self.find(use, kind)
        if self.is_not_run(use.text):
            return ComponentSpec(kind=kind, use=use.text, options={}, place=use.place)
        specs = None if cls is None else self.declared(cls, use.source, use)
        if specs is None:
            return BAD
        before = self.problems.errors
        options = self.options.mapping(
            node, specs, f"{kind.word} {quoted(use.source)}", skip=("use",), more=listing_of(use.source)
        )
        if self.problems.errors != before:
            return BAD
        return ComponentSpec(kind=kind, use=use.text, options=options, place=use.place)

    def _nesting_hint(self, node: MappingNode, kind: Kind) -> str:
        """Other tools write `{bm25: {top: 5}}`; show how it is written here."""
        keys = node.names()
        if len(keys) == 1 and keys[0] in self.catalogue.names(kind):
            return f": write {{use: {keys[0]}, ...}}"
        return ""

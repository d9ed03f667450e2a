"""Discovery: plugin names come from entry-point metadata; a plugin is imported when something names it, and not before.

A plugin that cannot be imported, or whose name is claimed twice, is an error for those who name it and for nobody else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path
from time import perf_counter
from types import ModuleType

import attrs
import pluggy

from nexus_core.contract import hookspecs
from nexus_core.contract.components import INJECTED, Kind, component_name, injected_fields
from nexus_core.contract.errors import PluginError, describe_error
from nexus_core.engine.plugin_guard import is_own, place_of
from nexus_core.toolkit.suggest import did_you_mean, instead, listed

_DISTRIBUTION = "contextnexus"
_LISTS = "`nexus plugins` lists all"

_METHODS = {
    Kind.CONNECTOR: ("model_info", "send_prompt", "stream_response"),
    Kind.RANKER: ("rank",),
    Kind.TEMPLATE: ("variables", "render"),
    Kind.SINK: ("emit", "flush"),
    Kind.SOURCE: ("gather",),
    Kind.TOOL: ("definitions", "call"),
}

Components = Mapping[Kind, Mapping[str, type]]


@attrs.frozen(kw_only=True)
class Origin:
    """Where a plugin comes from: a distribution's entry point, or a file beside a pipeline."""

    name: str
    target: str
    """The module's name, or the file's path."""
    installed: Distribution | None = attrs.field(default=None, eq=False, repr=False)
    """`None` for a file beside a pipeline."""
    load: Callable[[], ModuleType] = attrs.field(eq=False, repr=False)

    @property
    def distribution(self) -> str:
        """The name of the distribution; looked up only when asked for, since reading metadata takes milliseconds."""
        return self.installed.name if self.installed else ""

    @property
    def version(self) -> str:
        """The version of the distribution."""
        return self.installed.version if self.installed else ""

    def __str__(self) -> str:
        distribution = self.distribution
        return f"{distribution} {self.version} ({self.target})" if distribution else self.target


@attrs.frozen(kw_only=True)
class PluginReport:
    """What `nexus plugins` tells of one plugin."""

    name: str
    origins: tuple[Origin, ...]
    components: Components = attrs.field(factory=dict)
    import_s: float = 0.0
    """Seconds that the import took."""
    problem: str = ""
    """Why the plugin cannot be used, or empty."""


class PluginRegistry:
    """The plugins there are, by name; imports each at most once."""

    def __init__(self, origins: Iterable[Origin]) -> None:
        self._origins: dict[str, list[Origin]] = {}
        for origin in origins:
            known = self._origins.setdefault(origin.name, [])
            # The same distribution can be found twice on the path (a checkout and its install): that is no clash.
            if not any(origin.distribution and origin.distribution == other.distribution for other in known):
                known.append(origin)
        self._host = pluggy.PluginManager(hookspecs.PROJECT)
        self._host.add_hookspecs(hookspecs)
        self._loaded: dict[str, PluginReport] = {}

    @classmethod
    def installed(cls) -> PluginRegistry:
        """Return the plugins of the installed distributions; reads metadata and imports nothing."""
        found = hookspecs.installed_entry_points(hookspecs.ENTRY_POINT_GROUP)
        return cls(Origin(name=e.name, target=e.value, installed=e.dist, load=e.load) for e in found)

    def with_files(self, paths: Sequence[Path]) -> PluginRegistry:
        """Return a catalogue that has, besides, the plugin files given; a file's stem is the plugin's name."""
        if not paths:
            return self
        origins = [origin for group in self._origins.values() for origin in group]
        return PluginRegistry([*origins, *(_file_origin(path) for path in paths)])

    def names(self, kind: Kind) -> Sequence[str]:
        """Return the names of all plugins, sorted; which kinds each offers is known only once it is imported."""
        loaded = self._loaded
        return sorted(name for name in self._origins if name not in loaded or kind in loaded[name].components)

    def component(self, kind: Kind, use: str) -> type:
        """Return the component class that `use` names: `plugin`, or `plugin.component`.

        Raises PluginError where there is none, saying why and what there is instead.
        """
        plugin, _, part = use.partition(".")
        if plugin not in self._origins:
            raise PluginError(f"no {kind.word} is named {use!r}{self._instead(plugin, kind)}")
        report = self.report(plugin)
        if report.problem:
            raise PluginError(f"{kind.word} {use!r} cannot be used: {report.problem}")
        offered = report.components.get(kind, {})
        if not offered:
            kinds = listed([other.word for other in report.components]) or "nothing"
            raise PluginError(f"plugin {plugin!r} offers no {kind.word}; it offers: {kinds}")
        if part:
            if part not in offered:
                hint = instead(part, offered, "it offers")
                raise PluginError(f"plugin {plugin!r} offers no {kind.word} {part!r}{hint}")
            return offered[part]
        if len(offered) > 1 and plugin not in offered:
            choices = listed([f"{plugin}.{name}" for name in offered])
            raise PluginError(f"plugin {plugin!r} offers several {kind.value}: say which, one of {choices}")
        return offered.get(plugin) or next(iter(offered.values()))

    def report(self, plugin: str) -> PluginReport:
        """Import a plugin, if that has not been done, and tell what it offers or what is wrong with it."""
        if plugin not in self._loaded:
            self._loaded[plugin] = self._load(plugin)
        return self._loaded[plugin]

    def reports(self) -> list[PluginReport]:
        """Import every plugin and tell of each, by name."""
        return [self.report(plugin) for plugin in sorted(self._origins)]

    def all_components(self) -> Mapping[Kind, Mapping[str, type]]:
        """Return every usable component by kind and by what YAML says; imports every plugin, skips the broken ones."""
        found: dict[Kind, dict[str, type]] = {kind: {} for kind in Kind}
        for report in self.reports():
            for kind, offered in report.components.items():
                plain = len(offered) == 1 or report.name in offered
                for name, cls in offered.items():
                    if plain and (len(offered) == 1 or name == report.name):
                        found[kind][report.name] = cls
                    if len(offered) > 1:
                        found[kind][f"{report.name}.{name}"] = cls
        return found

    def broken(self) -> Mapping[str, str]:
        """Return why, for each plugin that cannot be used; imports every plugin."""
        return {report.name: report.problem for report in self.reports() if report.problem}

    def _instead(self, plugin: str, kind: Kind) -> str:
        """Return the end of a message about an unknown name: the close one, or those of the kind that are known.

        Of the plugins that nobody has named yet only those of this distribution are imported for it.
        """
        for name, origins in self._origins.items():
            if origins[0].distribution == _DISTRIBUTION:
                self.report(name)
        if meant := did_you_mean(plugin, self.names(kind)):
            return f"{meant} {_LISTS}"
        return f"; {kind.value}: {listed(name for name in self.names(kind) if name in self._loaded)}; {_LISTS}"

    def _load(self, plugin: str) -> PluginReport:
        known = self._origins.get(plugin, [])
        origins = tuple(known if len(known) == 1 else sorted(known, key=str))  # to say what one is takes milliseconds
        if not origins:
            hint = instead(plugin, sorted(self._origins), "installed", _LISTS)
            return PluginReport(name=plugin, origins=(), problem=f"no plugin is named {plugin!r}{hint}")
        if len(origins) > 1:
            both = listed([str(origin) for origin in origins])
            return PluginReport(
                name=plugin,
                origins=origins,
                problem=f"the name {plugin!r} is claimed by {both}; uninstall or rename all but one of them",
            )
        started = perf_counter()
        try:
            module = _import_quietly(origins[0])
            components = self._declared(plugin, module)
        except PluginError as error:
            return PluginReport(name=plugin, origins=origins, problem=str(error))
        took = perf_counter() - started
        return PluginReport(name=plugin, origins=origins, components=components, import_s=took)

    def _declared(self, plugin: str, module: ModuleType) -> Components:
        """Register a plugin with the host and collect what its own hooks yield."""
        try:
            self._host.register(module, name=plugin)
            self._host.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            with contextlib.suppress(ValueError, AssertionError):
                self._host.unregister(module)
            raise PluginError(f"plugin {plugin!r} {_wrong_hook(str(error))}") from error
        found: dict[Kind, Mapping[str, type]] = {}
        for kind in Kind:
            caller = getattr(self._host.hook, f"nexus_{kind.value}")
            for hook in caller.get_hookimpls():
                if hook.plugin is module:
                    found[kind] = _checked(plugin, kind, _yielded(plugin, kind, hook.function))
        if not found:
            raise PluginError(
                f"plugin {plugin!r} declares no hook: mark a function such as nexus_rankers() with @hookimpl"
            )
        return found


def _wrong_hook(said: str) -> str:
    """Return what is wrong with a hook, of which pluggy has said something."""
    hooks = [f"nexus_{kind.value}" for kind in Kind]
    if unknown := re.search(r"unknown hook '(\w+)'", said):
        name = unknown[1]
        return f"declares a hook that does not exist, {name!r}{did_you_mean(name, hooks)}; hooks: {listed(hooks)}"
    if declared := re.search(r"hookimpl definition: (\w+)\(", said):
        return f"declares the hook {declared[1]} with arguments, and it takes none: write def {declared[1]}():"
    return f"cannot be registered: {said}"


def _import_quietly(origin: Origin) -> ModuleType:
    """Import a plugin; its prints go to stderr, since stdout belongs to results, and whatever it raises is a reason."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return origin.load()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not is_own(error):
            raise
        raise PluginError(f"{origin} failed at import: {describe_error(error)}{place_of(error)}") from error


def _yielded(plugin: str, kind: Kind, hook: Callable[[], Iterable[type]]) -> list[type]:
    whose = f"hook nexus_{kind.value} of plugin {plugin!r}"
    try:
        found = hook()
        if inspect.iscoroutine(found):
            found.close()
        if isinstance(found, Iterable):
            return list(found)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not is_own(error):
            raise
        raise PluginError(f"{whose} failed: {describe_error(error)}{place_of(error)}") from error
    name = getattr(found, "__name__", "")
    raise PluginError(f"{whose} must return a list" + (f": write return [{name}]" if name.isidentifier() else ""))


def _shown(yielded: object) -> str:
    """Return what a hook yields, with the decorator that it lacks."""
    if inspect.isfunction(yielded):
        return f"the function {yielded.__name__} without a decorator (`@tool`, `@ranker`)"
    return f"the class {yielded.__name__} without `@component`" if isinstance(yielded, type) else repr(yielded)


def _checked(plugin: str, kind: Kind, classes: Sequence[type]) -> Mapping[str, type]:
    found: dict[str, type] = {}
    for cls in classes:
        if not (isinstance(cls, type) and attrs.has(cls)):
            raise PluginError(
                f"hook nexus_{kind.value} of plugin {plugin!r} yields {_shown(cls)}, which is no component class"
            )
        missing = [method for method in _METHODS[kind] if not hasattr(cls, method)]
        if missing:
            raise PluginError(f"{kind.word} {cls.__name__} of plugin {plugin!r} lacks {listed(missing)}")
        _check_run(plugin, kind, cls)
        _check_fields(plugin, kind, cls)
        name = component_name(cls)
        if name in found:
            raise PluginError(f"plugin {plugin!r} offers two {kind.value} named {name!r}")
        found[name] = cls
    return found


_WITH_RUN = {
    Kind.RANKER: ("rank", 3, "async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:"),
    Kind.SOURCE: ("gather", 2, "async def gather(self, query: str, run: RunContext) -> Sequence[Item]:"),
    Kind.TOOL: (
        "call",
        3,
        "async def call(self, name: str, arguments: Mapping[str, Any], run: RunContext) -> ToolResult:",
    ),
}
"""The methods that get the run: name, the place of `run` after `self`, and the line to write."""


def _check_run(plugin: str, kind: Kind, cls: type) -> None:
    """Raise PluginError where a ranker or a source is of the time before it was given the run."""
    if kind not in _WITH_RUN:
        return
    method, place, line = _WITH_RUN[kind]
    parameters = [*inspect.signature(getattr(cls, method)).parameters.values()]
    rest = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
    own = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    after = own[place] if len(own) > place else None
    # A third parameter with a default is an option of the author's own, and not the run.
    if rest or (after is not None and ("run" in after.name or after.default is inspect.Parameter.empty)):
        return
    raise PluginError(
        f"{method}() of {kind.word} {cls.__name__} of plugin {plugin!r} takes no `run`: it is given what may be known "
        f"of the run. Write `{line}`, with RunContext imported from nexus_core"
    )


def _check_fields(plugin: str, kind: Kind, cls: type) -> None:
    """Raise PluginError where a field looks as if the engine filled it in and does not say so, or the other way."""
    offered = {name for name in INJECTED if name != "pipeline" or kind is Kind.SINK}
    declared = injected_fields(cls)
    for field in attrs.fields(cls):
        if field.name in declared - offered:
            raise PluginError(
                f"{kind.word} {cls.__name__} of plugin {plugin!r} has the injected field {field.name!r}, which nothing "
                f"fills in; of a {kind.word} these are: {listed(sorted(offered))}"
            )
        if field.name in offered - declared and not field.init:
            raise PluginError(
                f"{kind.word} {cls.__name__} of plugin {plugin!r} declares {field.name!r} with state(): nothing fills "
                f"it in. Write `{field.name}: {_ANNOTATIONS[field.name]}`, with injected imported from nexus_core"
            )


_ANNOTATIONS = {
    "base_dir": 'str = injected(default=".")',
    "shared": "SharedResources | None = injected()",
    "pipeline": "Any = injected()",
}


def _file_origin(path: Path) -> Origin:
    """Make an origin of a file; its module gets a name no import can collide with."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    module_name = f"nexus_file_{path.stem}_{digest}"

    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # annotations of its classes are resolved through this
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        return module

    return Origin(name=path.stem, target=str(path), load=load)

"""Plugin cache: plugins imported once for as long as an editor is open, and plugin files again when they were saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field

from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.toolkit.file_stamps import Stamp, stamp_of

_MOST = 16
"""Sets of plugin files that are held at once."""
_Key = tuple[tuple[Path, Stamp | None], ...]


@define(eq=False, repr=False)
class PluginCache:
    """The plugins there are, as `PluginRegistry` has them; a set of plugin files is loaded once until one changes."""

    registry: PluginRegistry
    below: dict[_Key, PluginCache] = field(factory=dict)

    @classmethod
    def installed(cls) -> PluginCache:
        """Return the plugins of the installed distributions; imports none."""
        return cls(PluginRegistry.installed())

    def names(self, kind: Kind) -> Sequence[str]:
        """Return the names that may offer a kind, without importing anything."""
        return self.registry.names(kind)

    def component(self, kind: Kind, use: str) -> type:
        """Return the component class that `use` names; raises PluginError with a message for the user."""
        return self.registry.component(kind, use)

    def with_files(self, paths: Sequence[Path]) -> PluginCache:
        """Return a cache that has these plugin files besides: the same one until a file is saved."""
        if not paths:
            return self
        key = tuple([(path, _stamp(path)) for path in paths])
        found = self.below.pop(key, None) or PluginCache(self.registry.with_files(paths))
        while len(self.below) >= _MOST:
            del self.below[next(iter(self.below))]
        self.below[key] = found  # the one used last stands last
        return found

    def components(self, kind: Kind) -> Mapping[str, type]:
        """Return every usable component of a kind by what YAML says; imports every plugin, skips the broken ones."""
        return self.registry.all_components()[kind]


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path.stat())
    except OSError:
        return None

"""What the check needs to know of the plugins there are; the engine's catalogue is one of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from nexus_core.contract.components import Kind


class Catalogue(Protocol):
    """Plugins by name, imported only when one is asked for."""

    def names(self, kind: Kind) -> Sequence[str]:
        """Return the names that may offer a kind, without importing anything."""

    def component(self, kind: Kind, use: str) -> type:
        """Return the component class that `use` names; raises PluginError with a message for the user."""

    def with_files(self, paths: Sequence[Path]) -> Self:
        """Return a catalogue that has these plugin files besides."""

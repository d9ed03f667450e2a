"""Modules that are imported when something of them is first used.

    if TYPE_CHECKING:
        import numpy as np
    else:
        np = LazyModule("numpy")

For large libraries that only some users of a module need, such as those who compare vectors: a store is opened in a
fifth of the time that numpy takes to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LazyModule:
    """Stands for a module; each of its attributes is looked up once."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self._name), name)
        setattr(self, name, value)
        return value

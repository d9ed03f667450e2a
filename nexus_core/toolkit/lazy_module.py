"""Modules that are imported when something of them is first used.

    if TYPE_CHECKING:
        import numpy as np
    else:
        np = LazyModule("numpy")

For large libraries that only some users of a module need, such as those who compare vectors: a store is opened in a
fifth of the time that numpy takes to import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
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


def lazy_names(
    package: str, homes: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package whose names are imported at first use (PEP 562).

    `homes` has for each of its modules the names that it defines.
    """
    module_of = {name: f"{package}.{module}" for module, names in homes.items() for name in names}
    every = sorted(module_of)

    def find(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find, lambda: every, every

"""The libraries that the sinks need and that not everybody has."""

from __future__ import annotations

from importlib.util import find_spec


def require(sink: str, extra: str, *modules: str) -> None:
    """Raise ValueError that names the extra to install if a module is missing; imports none of them."""
    missing = [name for name in modules if not _is_there(name)]
    if missing:
        raise ValueError(f"the sink {sink!r} needs {', '.join(missing)}: pip install 'contextnexus[{extra}]'")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False

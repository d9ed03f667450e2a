"""Reads the templates that lie beside this module."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nexus_core.toolkit import TextTemplate


@lru_cache
def packaged(name: str) -> TextTemplate:
    """Return a template by its name, parsed once."""
    # Here, since it imports Jinja, which takes longer than a pipeline takes to load.
    from nexus_core.toolkit import TextTemplate

    return TextTemplate.parse(Path(__file__).with_name(f"{name}.jinja").read_text(encoding="utf-8"), name)

"""Table of models: a JSON file of a plugin with what is known of each, found by id, snapshot or prefix. Pure.

    {"checked": "2026-11-29", "source": "where the figures stand",
     "default": {"window": 8192, "capabilities": ["streaming"]},
     "profiles": {"large": {"window": 1000000, "max_output": 128000}},
     "models": [{"id": "acme-1", "profile": "large", "prefixes": ["acme-1-"], "description": "Acme 1."}]}

The keys of a row are those of `ModelInfo`; any other is the plugin's own, and in `ModelRow.own`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from nexus_core.contract.models import ImageTokens, ModelInfo

_FIGURES = frozenset(part.name for part in attrs.fields(ModelInfo)) - {"id", "provider"}
_SETS = ("capabilities", "requires", "unsupported")


@frozen(kw_only=True)
class ModelRow:
    """What the table says of a model."""

    known: bool
    """False for one that is not in the table: then the figures are declared defaults."""
    figures: Mapping[str, Any]
    """Fields of `ModelInfo`."""
    own: Mapping[str, Any]
    """What only the plugin understands."""

    def info(self, model: str, provider: str, **changes: Any) -> ModelInfo:
        """Return what is known as `ModelInfo`, with changes, and without counts of images and files that it takes not.

        What streams generates text.
        """
        figures = {"capabilities": frozenset[str](), **self.figures, **changes}
        takes = figures["capabilities"]
        if "streaming" in takes:
            figures["capabilities"] = takes | {"generate"}
        if "vision" not in takes:
            figures.pop("image_tokens", None)
        if "files" not in takes:
            figures.pop("file_tokens_at_most", None)
        return ModelInfo(id=model, provider=provider, **figures)


class ModelTable:
    """The rows of one file."""

    def __init__(self, path: Path) -> None:
        table = json.loads(path.read_text("utf-8"))
        profiles = table.get("profiles", {})
        self.checked: str = table["checked"]
        """The day on which somebody last held the table against what the services say."""
        self._default = _row(table["default"], known=False)
        self._rows: dict[str, ModelRow] = {}
        for entry in table["models"]:
            described = f"{entry.get('description', '')} Checked on {self.checked}.".lstrip()
            row = _row({**profiles.get(entry.get("profile", ""), {}), **entry, "description": described}, known=True)
            for prefix in (entry["id"], *entry.get("prefixes", (f"{entry['id']}{mark}" for mark in "-@:"))):
                self._rows[prefix] = row
            self._rows[f"={entry['id']}"] = row

    def find(self, model: str) -> ModelRow:
        """Return the row of a model, whatever stands before the last slash; the longest prefix counts."""
        plain = model.lower().rpartition("/")[2]
        exact = self._rows.get(f"={plain}")
        if exact is not None:
            return exact
        fits = [prefix for prefix in self._rows if prefix[-1:] in "-@.:" and plain.startswith(prefix)]
        return self._rows[max(fits, key=len)] if fits else self._default

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the table, in its order."""
        return tuple(prefix[1:] for prefix in self._rows if prefix.startswith("="))


@lru_cache(maxsize=16)
def load_models(path: Path) -> ModelTable:
    """Return the table in a file; read once."""
    return ModelTable(path)


def _row(entry: Mapping[str, Any], *, known: bool) -> ModelRow:
    figures = {name: value for name, value in entry.items() if name in _FIGURES}
    figures |= {name: frozenset(figures[name]) for name in _SETS if name in figures}
    if "image_tokens" in figures:
        figures["image_tokens"] = ImageTokens(**figures["image_tokens"])
    own = {name: value for name, value in entry.items() if name not in _FIGURES and name not in _OF_TABLE}
    return ModelRow(known=known, figures=figures, own=own)


_OF_TABLE = frozenset({"id", "profile", "prefixes"})

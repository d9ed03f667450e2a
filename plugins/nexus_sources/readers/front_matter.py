"""The YAML at the start of a Markdown document: a mapping, read without merge keys, which can grow without bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """A list of aliases under `<<` doubles a mapping with each line, so a page could take hours: it is left out."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave merge keys out instead of copying what they name."""
        node.value = [(key, value) for key, value in node.value if key.tag != _MERGE]


def values_of(text: str) -> Mapping[Any, Any] | None:
    """Return the mapping that a text writes, `None` where it is no YAML or no mapping."""
    try:
        values = yaml.load(text, _Loader)  # a SafeLoader: it makes plain values only
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return values if isinstance(values, Mapping) else None

"""Names that a file gives: they stand in messages and listings, so none of them comes from the environment."""

from __future__ import annotations

import re

from nexus_core.config.keys import IDENTIFIER
from nexus_core.config.yaml.problems import Problems, quoted
from nexus_core.config.yaml.tree import ScalarNode


def written_out(node: ScalarNode, what: str, problems: Problems) -> bool:
    """Tell whether a name is written out in the file; if not, that is noted."""
    if node.interpolated:
        problems.error("E003", node.place, f"{what} cannot come from the environment: write it out")
    return not node.interpolated


def identifies(node: ScalarNode, what: str, problems: Problems) -> bool:
    """Tell whether a name can stand after a dot in an expression; if not, that is noted."""
    if not written_out(node, what, problems):
        return False
    if re.fullmatch(IDENTIFIER, node.text):
        return True
    message = f"{quoted(node.text)} cannot be {what}: use letters, digits and _, and begin with a letter"
    problems.error("N005", node.place, message)
    return False


def listing_of(use: str) -> str:
    """Return what lists the options of a component, by what stands after `use`."""
    return f"`nexus plugins {use.partition('.')[0]}` lists all"

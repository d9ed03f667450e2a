"""Names that a file gives: they stand in messages and listings, so none of them comes from the environment."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import islice

from nexus_core.config.keys import IDENTIFIER
from nexus_core.config.yaml.problems import Problems, quoted
from nexus_core.config.yaml.tree import ScalarNode
from nexus_core.toolkit.suggest import did_you_mean

MOST_LISTED = 40
MOST_COMPARED = 200


def close(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the closest of some names; of thousands only the first are looked at."""
    return did_you_mean(name[:64], islice(known, MOST_COMPARED))


def instead(name: str | None, known: Collection[str], there: str) -> str:
    """Return the end of a message about an unknown name: the close one, and all there are.

    `name` is `None` where it must not be looked at, since it comes from the environment.
    """
    meant = close(name, known) if name else ""
    rest = f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
    names = (", ".join(islice(known, MOST_LISTED)) or "none") + rest
    return f"{meant} {there[0].upper()}{there[1:]}: {names}" if meant else f"; {there}: {names}"


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

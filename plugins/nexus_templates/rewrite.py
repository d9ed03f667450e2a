"""The template `rewrite`: a question of a conversation as a search query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nexus_core import Message, component, hookimpl, option
from nexus_templates.packaged import packaged


@component
class Rewrite:
    """Rewrites the query as one line that can be searched for without the history; use it with `into: query`."""

    instructions: str = option("", help="Further instructions, added to the system message.")

    variables: ClassVar[frozenset[str]] = frozenset(["query", "history"])
    required_variables: ClassVar[frozenset[str]] = frozenset()

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return rules, and the conversation with the question."""
        options = {"instructions": self.instructions}
        return packaged("rewrite").render({**variables, "options": options})


@hookimpl
def nexus_templates() -> list[type]:
    """Yield the template."""
    return [Rewrite]

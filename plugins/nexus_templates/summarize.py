"""The template `summarize`: a summary of the items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nexus_core import Message, component, hookimpl, option
from nexus_templates.packaged import packaged


@component
class Summarize:
    """Summarizes the items; the query, if there is one, says what to look for."""

    words: int = option(150, help="How long the summary may be, in words.", ge=1)
    language: str = option("", help="The language to write in, such as `French`; by default that of the texts.")
    instructions: str = option("", help="Further instructions, added to the system message.")

    variables: ClassVar[frozenset[str]] = frozenset(["query", "items"])
    required_variables: ClassVar[frozenset[str]] = frozenset()

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return rules, and the texts."""
        options = {"words": self.words, "language": self.language, "instructions": self.instructions}
        return packaged("summarize").render({**variables, "options": options})


@hookimpl
def nexus_templates() -> list[type]:
    """Yield the template."""
    return [Summarize]

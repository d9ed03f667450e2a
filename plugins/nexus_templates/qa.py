"""The template `qa`: an answer from the context alone, with citations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nexus_core import Message, component, hookimpl, option
from nexus_templates.packaged import packaged


@component
class Qa:
    """Answers from the numbered context alone, cites `[n]`, and says so where the answer is not there."""

    language: str = option("", help="The language to answer in, such as `French`; by default that of the question.")
    tone: str = option("", help="How it sounds, such as `friendly and plain`.")
    instructions: str = option("", help="Further instructions, added to the system message.")

    variables: ClassVar[frozenset[str]] = frozenset(["query", "items", "history"])
    required_variables: ClassVar[frozenset[str]] = frozenset()

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return rules, history, and the context with the question."""
        options = {"language": self.language, "tone": self.tone, "instructions": self.instructions}
        return packaged("qa").render({**variables, "options": options})


@hookimpl
def nexus_templates() -> list[type]:
    """Yield the template."""
    return [Qa]

"""The template `chat`: a conversation, with context where there is some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nexus_core import Message, component, hookimpl, option
from nexus_templates.packaged import packaged


@component
class ChatTemplate:
    """Talks: a system message, the history, the context if there is any, and what the user says."""

    name: ClassVar[str] = "chat"

    system: str = option("You are a helpful assistant.", help="The system message.")

    variables: ClassVar[frozenset[str]] = frozenset(["query", "items", "history"])
    required_variables: ClassVar[frozenset[str]] = frozenset()

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return system message, history, and the context with the query."""
        options = {"system": self.system}
        return packaged("chat").render({**variables, "options": options})


@hookimpl
def nexus_templates() -> list[type]:
    """Yield the template."""
    return [ChatTemplate]

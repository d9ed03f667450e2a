"""What connectors return, checked before it is believed; a mistake is told as that of the connector."""

from __future__ import annotations

import inspect
from typing import Any

from nexus_core.contract.values import Chunk, Completion, Usage


class ContractError(Exception):
    """A connector returned what is no part of its contract; the message says what."""


def check_answer(method: str, value: Any, wanted: type[Completion | Chunk]) -> None:
    """Raise ContractError unless a whole answer, or a part of one, is what it must be."""
    if not isinstance(value, wanted):
        if inspect.iscoroutine(value):
            value.close()  # it would warn that nobody awaits it
        verb = "returned" if wanted is Completion else "yielded"
        raise ContractError(f"{method} {verb} {_kind(value)} where a {wanted.__name__} is due")
    if not isinstance(value.text, str):
        raise ContractError(f"the text of a {wanted.__name__} is {_kind(value.text)}")
    if value.usage is not None and not isinstance(value.usage, Usage):
        raise ContractError(f"the usage of a {wanted.__name__} is {_kind(value.usage)}")


def check_stream(stream: Any) -> Any:
    """Return a stream; raises ContractError where it is none that can be closed early."""
    if not (hasattr(stream, "__aiter__") and hasattr(stream, "aclose")):
        if inspect.iscoroutine(stream):
            stream.close()
        raise ContractError(
            f"stream_response returned {_kind(stream)} and no async generator: use `yield`, and do not return a stream "
            "from an `async def`"
        )
    return stream


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"

"""Features of an item: what is worked out from its text, kept with it so that nobody works it out twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

_T = TypeVar("_T")


class FeatureKey(NamedTuple, Generic[_T]):
    """What a feature is kept under; its type argument is the type of the value: `FeatureKey[int]("lines")`.

    A plugin puts its own name in front of the feature's: `FeatureKey[int]("acme.lines")`.
    """

    name: str
    parameter: Hashable = None
    """What the value depends on besides the item, such as a model or a size."""


def vector_key(model: str) -> FeatureKey[bytes]:
    """Return the key of an item's vectors: little-endian halves, one vector after the other; stores keep them.

    `model` names all that they depend on but the item.
    """
    return FeatureKey("vector", model)


Listener = Callable[[FeatureKey[Any], Any], None]
_LISTENER = FeatureKey[Listener]("listener")


# A dictionary: packing and ranking look at every item, and a method in Python costs more than `dict.get`.
class Features(dict[FeatureKey[Any], Any]):
    """The features of one item, by key."""

    __slots__ = ()

    if TYPE_CHECKING:

        def get(self, key: FeatureKey[_T]) -> _T | None:  # type: ignore[override]
            """Return a feature, or `None`."""

    def put(self, key: FeatureKey[_T], value: _T) -> _T:
        """Keep a feature, tell the listener of it, and return it."""
        self[key] = value
        listener = self.get(_LISTENER)
        if listener is not None:
            listener(key, value)
        return value

    def listen(self, listener: Listener) -> None:
        """Call `listener(key, value)` after each put from now on, in the thread that puts; one listener per item."""
        self[_LISTENER] = listener

    def __reduce__(self) -> tuple[type[Features], tuple[dict[FeatureKey[Any], Any]]]:
        """Leave the listener behind: it belongs to this process."""
        return Features, ({key: value for key, value in self.items() if key != _LISTENER},)

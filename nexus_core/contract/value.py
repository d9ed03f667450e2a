"""How values compare and show themselves, in one place: compiling that for each class is a tenth of the start-up.

Values that a run makes and drops have no slots either: without them a frozen value is built in two thirds of the time.
"""

from __future__ import annotations

from typing import cast

import attrs


class Value:
    """Compares and shows the fields of an attrs class as attrs would; for classes with `eq=False, repr=False`."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, part.name) == getattr(other, part.name) for part in _fields(self) if part.eq)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, part.name) for part in _fields(self) if part.eq)))

    def __repr__(self) -> str:
        shown = [f"{part.name}={getattr(self, part.name)!r}" for part in _fields(self) if part.repr]
        return f"{type(self).__name__}({', '.join(shown)})"


def _fields(value: Value) -> tuple[attrs.Attribute[object], ...]:
    declared: tuple[attrs.Attribute[object], ...] = attrs.fields(cast(type[attrs.AttrsInstance], type(value)))
    return declared

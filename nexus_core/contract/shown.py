"""The text of a value, in one place for all: compiling one for each class is a tenth of the start-up.

Values that a run makes and drops have no slots either: without them a frozen value is built in two thirds of the time.
"""

from __future__ import annotations

from typing import cast

import attrs


class Shown:
    """Shows the fields of an attrs class as attrs would; for classes declared with `repr=False`."""

    __slots__ = ()

    def __repr__(self) -> str:
        declared = attrs.fields(cast(type[attrs.AttrsInstance], type(self)))
        shown = [f"{part.name}={getattr(self, part.name)!r}" for part in declared if part.repr]
        return f"{type(self).__name__}({', '.join(shown)})"

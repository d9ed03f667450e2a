"""Regular expressions of JSON Schemas (ECMA 262), by an engine whose time has a bound; and what is a JSON Schema.

Both are jsonschema-rs's. `re` backtracks without end at patterns as short as `(a|a)*$`; `regex` has a timeout and takes
all memory to compile `((a{1000}){1000}){1000}`. The engine of Rust is linear, and where a pattern looks around or back,
which that one cannot, another one counts its steps and gives up.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from attrs import frozen
from jsonschema_rs import Draft202012Validator, FancyRegexOptions, RegexOptions, ValidationError, meta

_MOST_STEPS = 20_000
"""Of a pattern that looks around: then it has no match. About a millisecond."""
_PROGRAM_BYTES = 1024 * 1024
_PER_STEP = 64
"""Characters of a text that cost as much as one step of the validation."""
_BACKTRACKING = 200
"""What a pattern that looks around costs in such steps."""

_TYPES = "a type is `array`, `boolean`, `integer`, `null`, `number`, `object` or `string`, or a list of them"

_LINEAR = RegexOptions(size_limit=_PROGRAM_BYTES, dfa_size_limit=_PROGRAM_BYTES)
_FANCY = FancyRegexOptions(backtrack_limit=_MOST_STEPS, size_limit=_PROGRAM_BYTES, dfa_size_limit=_PROGRAM_BYTES)


class PatternError(ValueError):
    """A text is no regular expression, or one that would take too much to compile."""


@frozen(eq=False)
class CompiledPattern:
    """A compiled regular expression."""

    validator: Draft202012Validator
    cost: int

    def is_found(self, text: str) -> bool:
        """Tell whether it is found in a text."""
        return self.validator.is_valid(text)

    def steps(self, text: str) -> int:
        """Return what a search costs, in steps of the validation."""
        return self.cost + len(text) // _PER_STEP


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> CompiledPattern:
    """Return a compiled pattern; raises PatternError."""
    for options, cost in ((_LINEAR, 1), (_FANCY, _BACKTRACKING)):
        try:
            return CompiledPattern(Draft202012Validator({"pattern": pattern}, pattern_options=options), cost)
        except (ValidationError, ValueError):
            continue
    raise PatternError(pattern)


def find_invalid(schema: Mapping[str, Any]) -> tuple[str, tuple[str | int, ...]] | None:
    """Return what of a schema is not as draft 2020-12 has it, and its path; `None` where nothing is.

    It is not compiled: that takes twice as long for each level of references that stand side by side.
    """
    try:
        meta.validate(dict(schema))
    except ValidationError as error:
        path = tuple(error.instance_path)
        is_type = path[-1:] == ("type",) and path[-2:-1] != ("properties",)
        return _TYPES if is_type else error.message[:300], path
    except ValueError as error:
        return str(error)[:300], ()
    return None

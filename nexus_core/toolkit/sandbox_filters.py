"""The filters and tests a template may use. All of them give plain data, and none gives more than it is charged for."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, cast

from jinja2 import Undefined, pass_context
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.tests import TESTS as _JINJA_TESTS

from nexus_core.toolkit.sandbox import BudgetContext, text_of, weigh

_WIDEST = 100
_DIGITS = 15


def _charged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a filter that is charged for the size of its value and of its result."""

    @pass_context
    @wraps(function)
    def charged(context: BudgetContext, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, Undefined):
            value._fail_with_undefined_error()
        context.budget.charge(_size(value))
        result = function(value, *args, **kwargs)
        context.budget.charge(_size(result))
        return result

    return charged


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | dict) else 1


@pass_context
def _default(context: BudgetContext, value: Any, default: Any = "", boolean: bool = False) -> Any:
    if isinstance(value, Undefined) or (boolean and not value):
        return default
    return value


def _join(value: Any, separator: str = "", attribute: str | None = None) -> str:
    texts = [text_of(part) for part in _elements(value, attribute)]
    separator = text_of(separator)
    _at_most(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    text = text_of(value)
    times = text.count(old) if count < 0 else min(text.count(old), count)
    _at_most(len(text) + times * (len(new) - len(old)))
    return text.replace(old, new, count)


def _indent(value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    lines = text_of(value).split("\n")
    if not 0 <= width <= _WIDEST:
        raise SecurityError(f"indent takes a width from 0 to {_WIDEST}")
    _at_most(sum(map(len, lines)) + len(lines) * (width + 1))
    pad = " " * width
    rest = [pad + line if line or blank else line for line in lines[1:]]
    return "\n".join([(pad if first else "") + lines[0], *rest])


def _truncate(value: Any, length: int = 255, killwords: bool = False, end: str = "...", leeway: int = 0) -> str:
    text = text_of(value)
    if len(text) <= length + leeway:
        return text
    kept = text[: max(length - len(end), 0)]
    return (kept if killwords else kept.rsplit(" ", 1)[0]) + end


def _tojson(value: Any, indent: int | None = None) -> str:
    weigh(value)
    if indent is not None and not 0 <= indent <= 8:
        raise SecurityError("tojson takes an indent from 0 to 8")
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)


def _round(value: Any, precision: int = 0) -> float:
    if not -_DIGITS <= precision <= _DIGITS:
        raise SecurityError(f"round takes a precision from -{_DIGITS} to {_DIGITS}")
    return round(float(value), precision)


def _sort(value: Any, reverse: bool = False, attribute: str | None = None) -> list[Any]:
    keys = _elements(value, attribute)
    elements = _elements(value)
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=reverse)
    return [elements[index] for index in order]


def _unique(value: Any, attribute: str | None = None) -> list[Any]:
    seen: dict[Any, Any] = {}
    for key, element in zip(_elements(value, attribute), _elements(value), strict=True):
        seen.setdefault(key, element)
    return list(seen.values())


def _elements(value: Any, attribute: str | None = None) -> list[Any]:
    """Return the elements of a value, or one key of each."""
    elements = list(value)
    if attribute is None:
        return elements
    absent = next((element for element in elements if type(element) is not dict or attribute not in element), None)
    if absent is not None:
        raise UndefinedError(f"not every element has {attribute!r}")
    return [element[attribute] for element in elements]


def _end(value: Collection[Any], place: int) -> Any:
    if not len(value):
        raise UndefinedError("an empty list has no first or last element")
    return list(value)[place]


def _at_most(size: int) -> None:
    from nexus_core.toolkit.sandbox import WORK_LIMIT

    if size > WORK_LIMIT:
        raise SecurityError(f"the text would have {size:,} characters")


_PLAIN_FILTERS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "capitalize": lambda value: text_of(value).capitalize(),
    "count": len,
    "first": lambda value: _end(value, 0),
    "float": lambda value: float(value),
    "indent": _indent,
    "int": lambda value: int(value),
    "items": lambda value: list(value.items()),
    "join": _join,
    "last": lambda value: _end(value, -1),
    "length": len,
    "list": list,
    "lower": lambda value: text_of(value).lower(),
    "replace": _replace,
    "reverse": lambda value: value[::-1],
    "round": _round,
    "sort": _sort,
    "string": text_of,
    "title": lambda value: text_of(value).title(),
    "tojson": _tojson,
    "trim": lambda value: text_of(value).strip(),
    "truncate": _truncate,
    "unique": _unique,
    "upper": lambda value: text_of(value).upper(),
    "wordcount": lambda value: len(text_of(value).split()),
}

FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: _charged(function) for name, function in _PLAIN_FILTERS.items()},
    "d": _default,
    "default": _default,
}

# Those that only look at their value; `is eq(...)`, `is in(...)` and the like are operators too, which are charged.
_TEST_NAMES = ["boolean", "defined", "divisibleby", "even", "false", "float", "integer", "iterable", "mapping", "none"]
_TEST_NAMES += ["number", "odd", "sequence", "string", "true", "undefined"]

TESTS: Mapping[str, Callable[..., Any]] = {name: cast(Callable[..., Any], _JINJA_TESTS[name]) for name in _TEST_NAMES}

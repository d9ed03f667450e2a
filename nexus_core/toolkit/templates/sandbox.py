"""The sandbox templates run in: plain JSON data, a fixed list of filters, no way to an object, and a bound on work.

Templates come from the pipeline's author, so this is the second wall, not the first; what comes from users is only ever
a value. tests/toolkit/test_templating_hostile.py tries to get through.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter
from types import BuiltinMethodType, MethodType
from typing import Any, cast

import jinja2
from jinja2 import StrictUndefined, Undefined, pass_context
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.filters import FILTERS as _JINJA_FILTERS
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as _JINJA_TESTS
from jinja2.utils import Namespace

from nexus_core.toolkit.suggest import did_you_mean, listed

OUTPUT_LIMIT = 8 << 20
"""Characters a rendered template may have: what the largest windows sold (2 million tokens) hold of English."""
WORK_LIMIT = 3 * OUTPUT_LIMIT
"""Units of work a rendering may take: a character written, copied or searched is one, a step of a loop 80 and more."""
STEP_WORK = 80
RANGE_LIMIT = 10_000
REPEAT_LIMIT = 100_000
_INTEGER_BITS = 4096
_POINTER = 8
_COMPARED = 16
NESTED_LIMIT = 10_000
"""Values in a list or mapping that a template writes or prints as JSON, each as often as it stands there."""
MOST_VALUES = WORK_LIMIT // _POINTER

PLAIN = frozenset({str, int, float, bool, type(None), list, tuple, dict})
_SCALAR = frozenset({str, int, float, bool, type(None)})
_CONTAINERS = PLAIN - _SCALAR
_SEARCHED = frozenset({str, list, tuple})
_VIEWS: tuple[type, ...] = (range, type({}.keys()), type({}.values()), type({}.items()))
_NESTED = frozenset([list, tuple, dict, *_VIEWS])
_LOOPED_OVER = (*_VIEWS, Undefined)
_OLDEST_JINJA = (3, 1, 6)

_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset([
        "upper", "lower", "title", "capitalize", "strip", "lstrip", "rstrip", "startswith", "endswith", "split",
        "splitlines", "removeprefix", "removesuffix", "count", "find", "isdigit", "isalpha", "isupper", "islower",
    ]),
    dict: frozenset(["items", "keys", "values", "get"]),
    list: frozenset(["index", "count"]),
    tuple: frozenset(["index", "count"]),
    LoopContext: frozenset([
        "index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem",
        "nextitem", "cycle", "changed",
    ]),
}  # fmt: skip


class Budget:
    """What a rendering may still do."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = WORK_LIMIT

    def charge(self, units: int) -> None:
        """Take units of work off, or stop the rendering."""
        self.left -= units
        if self.left < 0:
            raise SecurityError("it does more work than any prompt needs: look for a loop in a loop")


class BudgetContext(Context):
    """The context of one message: its variables, and the budget of the whole rendering.

    It sets only what the code of a template without blocks and escaping reads, a quarter of the time Jinja takes.
    """

    def __init__(self, variables: Mapping[str, Any], budget: Budget) -> None:
        self.environment = sandbox()
        self.parent = {**_GLOBALS, **variables}
        self.vars = {}
        self.exported_vars = set()
        self.eval_ctx = _eval_context()
        self.name = None
        self.blocks = {}
        self.budget = budget


class MissingValue(StrictUndefined):
    """A name that is not there; using it is an error that names what is there."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name, owner = self._undefined_name, self._undefined_obj
        if self._undefined_hint or not isinstance(owner, dict):
            return str(super()._undefined_message)
        keys = [key for key in owner if isinstance(key, str)]
        there = listed(sorted(keys)[:20]) or "no names"
        return f"there is no {name!r}{did_you_mean(str(name), keys)}; there are {there}"


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with everything taken out that JSON data and prompts do not need."""

    intercepted_binops = frozenset({"+", "*", "%", "**"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a key of a mapping, or else one of the few methods; keys come first."""
        if type(obj) is dict:
            try:
                return obj[attribute]
            except KeyError:
                if attribute not in _METHODS[dict]:
                    return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may read an attribute: it is one of a fixed list for its type."""
        if type(obj) is Namespace:
            return not attr.startswith("_")
        return attr in _METHODS.get(type(obj), ())

    def is_safe_callable(self, obj: Any) -> bool:
        """Return whether a template may call something: a method that it may read, `range` or `namespace`."""
        if isinstance(obj, BuiltinMethodType | MethodType):
            return obj.__name__ in _METHODS.get(type(obj.__self__), ())
        return obj is bounded_range or obj is Namespace or isinstance(obj, Undefined)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call what may be called, at the cost of what it works on; Jinja's own refusal would quote a value."""
        if not __self.is_safe_callable(__obj):
            raise SecurityError(f"{getattr(__obj, '__name__', type(__obj).__name__)}() is not available here")
        owner = getattr(__obj, "__self__", None)
        if type(owner) in _SEARCHED:
            # strip() looks for each character of one text in the other.
            sought = args[0] if __obj.__name__.endswith("strip") and args and type(args[0]) is str else ""
            __context.budget.charge(weigh(owner, MOST_VALUES) * (1 + len(sought) // _COMPARED))
        for arg in args:
            __context.budget.charge(weigh(arg, MOST_VALUES))
        return __context.call(__obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Calculate, unless the result would be large."""
        if operator == "**" or (operator == "%" and type(left) is str):
            raise SecurityError(f"the operator {operator} is not available here")
        context.budget.charge(_result_size(operator, left, right))
        return super().call_binop(context, operator, left, right)


def _result_size(operator: str, left: Any, right: Any) -> int:
    """Return the length of what `+` or `*` gives, refusing what would be out of proportion."""
    size = 1
    match operator, left, right:
        case _, int(), int():
            if operator == "*" and left.bit_length() + right.bit_length() > _INTEGER_BITS:
                raise SecurityError("the product is too large a number")
        case "+", str(), str():
            size = len(left) + len(right)
        case "+", list() | tuple(), list() | tuple():
            size = (len(left) + len(right)) * _POINTER
        case "*", (str() | list() | tuple()), int():
            size = len(left) * max(right, 0)
        case "*", int(), (str() | list() | tuple()):
            size = len(right) * max(left, 0)
    if operator == "*" and size > REPEAT_LIMIT:
        raise SecurityError(f"repeating gives {size:,} elements, more than {REPEAT_LIMIT:,}")
    return size


def bounded_range(*bounds: int) -> range:
    """Return a range of at most `RANGE_LIMIT` numbers."""
    numbers = range(*bounds)
    if len(numbers) > RANGE_LIMIT:
        raise SecurityError(f"range() gives {len(numbers):,} numbers, more than {RANGE_LIMIT:,}")
    return numbers


def text_of(value: Any) -> str:
    """Return a value as it is written into a text; lists, mappings and objects are refused."""
    if type(value) is str:
        return value
    if type(value) in _SCALAR or isinstance(value, Undefined):
        return str(value)
    if type(value) in PLAIN or isinstance(value, range):
        raise SecurityError(f"a {type(value).__name__} has no text: write it with |join(', ') or |tojson, or in a loop")
    raise SecurityError(f"a {type(value).__name__} is no plain data")


@pass_context
def finalize(context: BudgetContext, value: Any) -> str:
    """Return what `{{ }}` writes.

    That it asks for the context is what keeps Jinja from running expressions while it compiles.
    """
    text = value if type(value) is str else text_of(value)
    budget = context.budget
    budget.left -= len(text)
    if budget.left < 0:
        budget.charge(0)
    return text


@pass_context
def counted(context: BudgetContext, elements: Iterable[Any], step: int) -> Iterator[Any]:
    """Yield the elements of a loop, each step charged; wrapped around the iterable of every `for`."""
    if type(elements) not in PLAIN and not isinstance(elements, _LOOPED_OVER):
        raise SecurityError(f"a {type(elements).__name__} cannot be looped over")
    return _steps(context.budget, elements, step)


def _steps(budget: Budget, elements: Iterable[Any], step: int) -> Iterator[Any]:
    for element in elements:
        budget.left -= step
        if budget.left < 0:
            budget.charge(0)
        yield element


@pass_context
def joined(context: BudgetContext, parts: Iterable[Any]) -> str:
    """Return what `~` makes of its operands."""
    texts = [text_of(part) for part in parts]
    context.budget.charge(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def weighed(context: BudgetContext, value: Any, most: int = 0) -> Any:
    """Return a value, charged by its length or, with `most`, by all that is in it; wrapped around what can grow."""
    kind = type(value)
    if kind is str:
        context.budget.charge(len(value))
    elif kind not in _SCALAR:
        if isinstance(value, Undefined):
            value._fail_with_undefined_error()
        context.budget.charge(weigh(value, most) if most else len(value) if kind in _CONTAINERS else 1)
    return value


def weigh(value: Any, most: int = NESTED_LIMIT, plain: bool = False) -> int:
    """Return the work that a value is, to its last text; too many values, or with `plain` objects, are an error."""
    if type(value) in _SCALAR:
        return len(value) if type(value) is str else _POINTER
    waiting: list[Any] = [value if type(value) in _CONTAINERS else (value,)]
    values, characters = 1, 0
    while waiting:
        elements = waiting.pop()
        values += len(elements)
        if values > most:
            raise SecurityError(f"a list or mapping has more than {most:,} values in it")
        if type(elements) is dict:
            elements = (*elements, *elements.values())
        for element in elements:
            kind = type(element)
            if kind is str:
                characters += len(element)
            elif plain and isinstance(element, Undefined):
                element._fail_with_undefined_error()
            elif plain and kind not in PLAIN:
                raise SecurityError(f"it gives a {kind.__name__}, which is no plain data")
            elif kind in _NESTED:
                waiting.append(element)
    return values * _POINTER + characters


def check_jinja(version: str | None) -> None:
    """Refuse a Jinja whose sandbox is known to leak, whatever the installer allowed."""
    numbers = tuple(int(part) for part in (version or "").split(".")[:3] if part.isdigit())
    if version is not None and numbers < _OLDEST_JINJA:
        raise ImportError(f"Jinja {version} has known holes in its sandbox; install jinja2>=3.1.6")


@lru_cache
def sandbox() -> Sandbox:
    """Return the one environment of this process; it holds no state of any rendering."""
    check_jinja(vars(jinja2).get("__version__"))
    environment = Sandbox(
        undefined=MissingValue,
        autoescape=False,
        optimized=False,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters = {**FILTERS, COUNTED: counted, JOINED: joined, WEIGHED: weighed}
    environment.tests = dict(TESTS)
    environment.globals = dict(_GLOBALS)
    return environment


@lru_cache
def _eval_context() -> EvalContext:
    return EvalContext(sandbox())


_GLOBALS: Mapping[str, Any] = {"range": bounded_range, "namespace": Namespace}


# With a blank in front no template can name them.
COUNTED, JOINED, WEIGHED = " counted", " joined", " weighed"


_WIDEST = 100
_DIGITS = 15


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


@pass_context
def _tojson(context: BudgetContext, value: Any, indent: int | None = None) -> str:
    context.budget.charge(weigh(value))
    if indent is not None and not 0 <= indent <= 8:
        raise SecurityError("tojson takes an indent from 0 to 8")
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)


def _round(value: Any, precision: int = 0) -> float:
    if not -_DIGITS <= precision <= _DIGITS:
        raise SecurityError(f"round takes a precision from -{_DIGITS} to {_DIGITS}")
    return round(float(value), precision)


@pass_context
def _sort(context: BudgetContext, value: Any, reverse: bool = False, attribute: str | None = None) -> list[Any]:
    keys = _keys(context, value, attribute)
    pairs = sorted(zip(keys, value, strict=True), key=itemgetter(0), reverse=reverse)
    return [element for _, element in pairs]


@pass_context
def _unique(context: BudgetContext, value: Any, attribute: str | None = None) -> list[Any]:
    seen: dict[Any, Any] = {}
    for key, element in zip(_keys(context, value, attribute), value, strict=True):
        seen.setdefault(key, element)
    return list(seen.values())


def _keys(context: BudgetContext, value: Any, attribute: str | None) -> list[Any]:
    """Return what is compared, charged down to the last text."""
    keys = _elements(value, attribute)
    texts_only = set(map(type, keys)) == {str}  # the usual case, four times as fast
    context.budget.charge(sum(map(len, keys)) if texts_only else weigh(keys, MOST_VALUES))
    return keys


def _elements(value: Any, attribute: str | None = None) -> list[Any]:
    """Return the elements of a value, or one key of each."""
    elements = list(value)
    if attribute is None:
        return elements
    if set(map(type, elements)) <= {dict}:
        with suppress(KeyError):
            return [element[attribute] for element in elements]
    raise UndefinedError(f"not every element has {attribute!r}")


def _at_most(size: int) -> None:
    if size > WORK_LIMIT:
        raise SecurityError(f"the text would have {size:,} characters")


# Jinja's own where they print the same texts; the others hide mistakes, escape, copy without bound or print objects.
FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: _JINJA_FILTERS[name] for name in ("d", "default", "first", "last")},
    "abs": abs,
    "capitalize": lambda value: text_of(value).capitalize(),
    "count": len,
    "float": lambda value: float(value),
    "indent": _indent,
    "int": lambda value: int(value),
    "items": lambda value: list(value.items()),
    "join": _join,
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

# Those that only look at their value; `is eq(...)`, `is in(...)` and the like are operators too, which are charged.
_TEST_NAMES = ["boolean", "defined", "divisibleby", "even", "false", "float", "integer", "iterable", "mapping", "none"]
_TEST_NAMES += ["number", "odd", "sequence", "string", "true", "undefined"]

TESTS: Mapping[str, Callable[..., Any]] = {name: cast(Callable[..., Any], _JINJA_TESTS[name]) for name in _TEST_NAMES}

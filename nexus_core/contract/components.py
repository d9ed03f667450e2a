"""Components: attrs classes whose fields are their options, declared once and read by parser, lint, docs and schema."""

from __future__ import annotations

import asyncio
import inspect
import json
import types
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

import attrs

from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import Item, ToolDefinition, ToolResult

_OPTION = "nexus_option"
_INJECTED = "nexus_injected"
_READ = "__nexus_options__"


class Kind(StrEnum):
    """The six kinds of component; the value is what follows `nexus_` in the name of the hook."""

    CONNECTOR = "connectors"
    RANKER = "rankers"
    TEMPLATE = "templates"
    SINK = "sinks"
    SOURCE = "sources"
    TOOL = "tools"

    @property
    def word(self) -> str:
        """The kind as people say it: `connector`."""
        return self.value.removesuffix("s")


@attrs.frozen(kw_only=True)
class OptionSpec:
    """One option of a component, as declared."""

    name: str
    annotation: Any
    """The type, resolved."""
    default: Any = attrs.NOTHING
    help: str = ""
    ge: float | None = None
    """The smallest value allowed."""
    le: float | None = None
    """The largest value allowed."""
    gt: float | None = None
    """The value must be larger than this."""
    pattern: str | None = None
    """A regular expression that a string must match as a whole."""

    @property
    def required(self) -> bool:
        """Whether the option has no default."""
        return self.default is attrs.NOTHING


def option(
    default: Any = attrs.NOTHING,
    *,
    help: str,
    ge: float | None = None,
    le: float | None = None,
    gt: float | None = None,
    pattern: str | None = None,
    factory: Callable[[], Any] | None = None,
) -> Any:
    """Declare an option of a component: `top: int = option(10, help="How many items to keep.", ge=1)`.

    Allowed annotations: str, int, float, bool, Secret, Any, Literal[...], X | Y, tuple[X, ...], Mapping[str, X], an
    attrs class, and the protocols Ranker, Template, Source, Connector, Sink, Tool for a nested component.
    """
    bounds = {"help": help, "ge": ge, "le": le, "gt": gt, "pattern": pattern}
    if factory is not None:
        return attrs.field(factory=factory, kw_only=True, metadata={_OPTION: bounds})
    return attrs.field(default=default, kw_only=True, metadata={_OPTION: bounds})


def state(factory: Callable[[], Any] | None = None, *, default: Any = None) -> Any:
    """Declare a field that is no option: what a component keeps for itself, such as a session or an index."""
    if factory is not None:
        return attrs.field(factory=factory, init=False, repr=False, eq=False)
    return attrs.field(default=default, init=False, repr=False, eq=False)


INJECTED = {
    "base_dir": "the folder of the pipeline file, a text",
    "shared": "the resources of the process, `nexus_core.toolkit.shared_resources.SharedResources`",
    "pipeline": "of a sink: its `Pipeline`, before it is opened",
}
"""The fields that the engine fills in, by their names."""


def injected(*, default: Any = None) -> Any:
    """Declare a field that the engine fills in: `base_dir: str = injected(default=".")`, also `shared`, `pipeline`.

    It is no option. The default holds where a component is made by hand.
    """
    return attrs.field(default=default, init=False, repr=False, eq=False, metadata={_INJECTED: True})


def injected_fields(cls: type) -> frozenset[str]:
    """Return the names of the fields of a component class that the engine fills in."""
    return frozenset(field.name for field in attrs.fields(cls) if _INJECTED in field.metadata)


_Class = TypeVar("_Class", bound=type)


# No field specifiers: a type checker knows a default only by keyword, and `option(10, ...)` reads better than that.
@dataclass_transform(kw_only_default=True)
def component(cls: _Class) -> _Class:
    """Make a class a component: `attrs.define`, with keyword-only fields and no equality beyond identity."""
    return attrs.define(cls, kw_only=True, eq=False)


def component_name(cls: type) -> str:
    """Return the name of a component within its plugin: its `name` attribute, or its class name in snake case."""
    name = cls.__dict__.get("name")
    if isinstance(name, str):
        return name
    return "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")


def component_summary(cls: type) -> str:
    """Return the first sentence of a component's docstring."""
    text = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]


def options_of(cls: type) -> tuple[OptionSpec, ...]:
    """Return the options of a component class, in the order of declaration; reads the class and runs nothing of it.

    A class is read once: resolving its annotations takes a millisecond, and a file may name it a thousand times.
    """
    found: tuple[OptionSpec, ...] | None = cls.__dict__.get(_READ)
    if found is None:
        found = _read(cls)
        # Kept by the class itself, so that it goes when a reloaded plugin's old class goes.
        setattr(cls, _READ, found)
    return found


def _read(cls: type) -> tuple[OptionSpec, ...]:
    found = []
    for attribute in attrs.fields(cls):
        if not attribute.init:
            continue
        bounds = attribute.metadata.get(_OPTION, {"help": ""})
        default = attribute.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = default.factory()
        annotation = _resolved(cls, attribute.name, attribute.type)
        found.append(OptionSpec(name=attribute.name, annotation=annotation, default=default, **bounds))
    return tuple(found)


def _resolved(cls: type, name: str, annotation: Any) -> Any:
    """Return the type that an annotation names, alone: other fields may name what only type checkers import."""
    if not isinstance(annotation, str):
        return Any if annotation is None else annotation
    owner = next((base for base in cls.__mro__ if name in inspect.get_annotations(base)), cls)
    alone = type(cls.__name__, (), {"__annotations__": {name: annotation}, "__module__": owner.__module__})
    return get_type_hints(alone)[name]


ScoringFunction = Callable[..., Any]
_Function = Callable[..., Any]


def ranker(function: ScoringFunction) -> type:
    """Turn `def newest(query, items, *, half_life_days: float = 30) -> scores` into a ranker component.

    Keyword-only parameters become options, annotation and default included; a line `name: meaning` in the docstring is
    the option's help. The function gets the query and the items in the order of their sources, and returns one number
    per item, higher first; it may be `async`.
    """
    fields = _keyword_options(function)

    async def rank(self: Any, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        options = {name: getattr(self, name) for name in fields}
        scores = function(query, ranking.items, **options)
        if inspect.isawaitable(scores):
            scores = await scores
        return ranking.scored(function.__name__, scores)

    return _component_of(function, fields, {"rank": rank})


def tool(function: _Function | None = None, *, changes: bool = False) -> Any:
    """Turn `def weather(city: str, days: int = 1, *, units: str = "metric") -> str` into a tool component.

    Its parameters are the arguments that the model gives, its keyword-only parameters the options of the pipeline; one
    that is annotated with `RunContext` is given the run. The first paragraph of the docstring is what the model reads,
    a line `name: meaning` describes an argument or is the help of an option. The function may be `async`; another one
    is called in a thread. It returns a text, items, a `ToolResult`, or what can be written as JSON. One that `changes`
    something outside of the run is offered only where the pipeline allows it: `@tool(changes=True)`.

    Raises TypeError where an argument is of a type that JSON Schema cannot tell a model.
    """
    if function is None:
        return lambda function: tool(function, changes=changes)
    called, fields, hints = function, _keyword_options(function), get_type_hints(function)
    taken = [parameter for name, parameter in inspect.signature(called).parameters.items() if name not in fields]
    runs = [parameter.name for parameter in taken if hints.get(parameter.name) is RunContext]
    definition = ToolDefinition(
        name=called.__name__,
        description=" ".join(inspect.cleandoc(called.__doc__ or "").split("\n\n")[0].split()),
        parameters=_arguments_schema(called, [one for one in taken if one.name not in runs], hints),
        changes=changes,
    )

    async def definitions(self: Any, run: RunContext) -> Sequence[ToolDefinition]:
        return (definition,)

    async def call(self: Any, name: str, arguments: Mapping[str, Any], run: RunContext) -> ToolResult:
        given = {**arguments, **dict.fromkeys(runs, run), **{name: getattr(self, name) for name in fields}}
        if inspect.iscoroutinefunction(called):
            return tool_result(await called(**given))
        return tool_result(await asyncio.to_thread(called, **given))

    body = {"definitions": definitions, "call": call, "tool_names": (definition.name,)}
    body["tool_changes"] = (definition.name,) if changes else ()
    body["undescribed_tools"] = () if definition.description else (definition.name,)
    return _component_of(called, fields, body)


def tool_result(returned: object) -> ToolResult:
    """Return what the function of a tool has returned as its result; raises TypeError where it is no JSON."""
    match returned:
        case ToolResult():
            return returned
        case str():
            return ToolResult(text=returned)
        case Item():
            return ToolResult(items=(returned,))
        case Ranking():
            best = returned.only(returned.order())
            return ToolResult(items=best.items, scores=best.columns)
        case list() | tuple() if returned and all(isinstance(part, Item) for part in returned):
            return ToolResult(items=tuple(returned))
    return ToolResult(text="done" if returned is None else json.dumps(returned, ensure_ascii=False, indent=1))


_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}


def _arguments_schema(
    function: _Function, parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any]
) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(
                f"the tool {function.__name__!r} takes {parameter}: a model gives each argument by its name"
            )
        schema = _type_schema(hints.get(parameter.name, Any), f"{parameter.name!r} of the tool {function.__name__!r}")
        if meaning := _parameter_help(function, parameter.name):
            schema["description"] = meaning
        if parameter.default is not parameter.empty and parameter.default is not None:
            schema["default"] = parameter.default
        properties[parameter.name] = schema
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _type_schema(annotation: Any, where: str) -> dict[str, Any]:
    """Return the JSON Schema of a type; raises TypeError where there is none."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return {}
    if origin in (Union, types.UnionType):
        found = [_type_schema(part, where) for part in parts if part is not type(None)]
        return found[0] if len(found) == 1 else {"anyOf": found}
    if origin is Literal:
        return {"enum": list(parts)}
    kind = annotation if origin is None else origin
    if kind in (tuple, Sequence, list):
        return {"type": "array", "items": _type_schema(parts[0], where) if parts else {}}
    if kind in (dict, Mapping):
        return {"type": "object"}
    if kind not in _JSON_TYPES:
        raise TypeError(f"the argument {where} is of a type that a model cannot give: {annotation!r}; take a text, a "
                        "number, a truth value, a list, a mapping, or a Literal")  # fmt: skip
    return {"type": _JSON_TYPES[kind]}


def _keyword_options(function: _Function) -> dict[str, Any]:
    """Return the options that the keyword-only parameters of a function are."""
    found: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            default = attrs.NOTHING if parameter.default is inspect.Parameter.empty else parameter.default
            found[parameter.name] = option(default, help=_parameter_help(function, parameter.name))
    return found


def _component_of(function: _Function, fields: Mapping[str, Any], methods: Mapping[str, Any]) -> type:
    """Return a component class named like a function, with these options and methods."""
    hints = get_type_hints(function)
    body = {
        **fields,
        "__annotations__": {name: hints.get(name, Any) for name in fields},
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "name": function.__name__,
        **methods,
    }
    return attrs.define(type(function.__name__, (), body), kw_only=True, eq=False, slots=False)


def _parameter_help(function: _Function, name: str) -> str:
    for line in inspect.cleandoc(function.__doc__ or "").splitlines():
        if line.startswith(f"{name}: "):
            return line.removeprefix(f"{name}: ")
    return ""

"""The pipeline language as a JSON Schema, with the options of the plugins that are there: editors complete from it.

Made of the same declarations as the check. What a schema cannot say (names that must exist, orders, expressions) only
lint finds. A pipeline that brings plugin files may name components that no schema knows: for it the names stay open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from nexus_core.config import option_types
from nexus_core.config.cases.language import Case
from nexus_core.config.keys import (
    IDENTIFIER,
    MODEL_NAME,
    VERBS,
    BranchKeys,
    CallStepKeys,
    ExpandKeys,
    GatherKeys,
    GenerateKeys,
    InputKeys,
    ModelKeys,
    PipelineKeys,
    PromptKeys,
    StepKeys,
    TemplateTextKeys,
    keys_of,
)
from nexus_core.config.option_types import allows_none, alternatives, choices, element, kind_of, mapped
from nexus_core.config.policy_keys import BreakerKeys, CacheKeys, CallsKeys, LimitKeys, RetryKeys, is_duration, is_size
from nexus_core.config.yaml import scalars
from nexus_core.contract.components import Kind, OptionSpec, component_summary, options_of
from nexus_core.contract.run_context import CallablePipeline
from nexus_core.toolkit.secrets import Secret

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Fragment = dict[str, Any]

_ENVIRONMENT: Fragment = {"$ref": "#/$defs/environment"}
_NULL: Fragment = {"type": "null"}
_TESTS: Fragment = {"type": "array", "items": {"$ref": "#/$defs/test"}}
_DURATION: Fragment = {"type": "string", "pattern": f"^(?:{scalars.PATTERN})$"}
_SIZE: Fragment = {"type": "string", "pattern": f"^(?:{scalars.SIZE_PATTERN})$"}
_PIPELINE_FILE: Fragment = {
    "type": "string",
    "pattern": r"\.ya?ml$|\$\{",
    "description": "A pipeline's file, in the folder of this one or below it.",
}
_OPEN_SUFFIX = "-or-from-file"
_TYPES: Mapping[type, str] = {int: "integer", float: "number", bool: "boolean"}


def schema(components: Mapping[Kind, Mapping[str, type]]) -> dict[str, Any]:
    """Return the JSON Schema of pipeline files, for the components given by kind and by what YAML says."""
    closed, opened = _Schema(components, open=False), _Schema(components, open=True)
    environment = {
        "description": "Read from the environment when the file is loaded.",
        "type": "string",
        "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}$",
    }
    return {
        "$schema": DIALECT,
        "title": "ContextNexus pipeline",
        "if": {"required": ["plugins"]},
        "then": opened.pipeline(),
        "else": closed.pipeline(),
        "$defs": {
            "environment": environment,
            **closed.definitions,
            **opened.definitions,
            "test": closed.test(),
            "tests-file": {
                "description": "What stands in NAME.tests.yaml beside a pipeline NAME.yaml.",
                "type": "object",
                "properties": {"tests": _TESTS},
                "additionalProperties": False,
                "required": ["tests"],
            },
        },
    }


@define
class _Schema:
    """Makes the fragments of one variant of the schema, and collects those that are referred to."""

    components: Mapping[Kind, Mapping[str, type]]
    open: bool
    """Names of components that are not known are allowed: they may come from a plugin file."""
    definitions: dict[str, Fragment] = field(factory=dict)

    def pipeline(self) -> Fragment:
        for kind in Kind:
            if kind is not Kind.CONNECTOR:
                self.definitions[self._name(kind.word)] = self._component(kind)
        self.definitions[self._name("connector")] = self._component(Kind.CONNECTOR)
        self.definitions[self._name("model")] = self._model()
        self.definitions[self._name("gather")] = self._gather()
        self.definitions[self._name("step")] = self._step()
        one_of_both = {"anyOf": [{"required": ["gather"]}, {"required": ["rank"]}]}
        self.definitions[self._name("part")] = {"allOf": [self._ref("step"), one_of_both]}
        names = {"propertyNames": {"pattern": _whole(MODEL_NAME)}}
        special: dict[str, Fragment] = {
            "models": {"type": "object", **names, "additionalProperties": self._ref("model")},
            "steps": {"type": "array", "minItems": 1, "items": self._ref("step")},
            "inputs": {
                "type": "object",
                "propertyNames": {"pattern": _whole(IDENTIFIER)},
                "additionalProperties": self._input(),
            },
            "plugins": {"type": "array", "items": {"type": "string", "pattern": r"\.py$"}},
            "calls": {"anyOf": [self._timed(CallsKeys), _NULL]},
            "tests": _TESTS,
        }
        return self._object(keys_of(PipelineKeys), special)

    def test(self) -> Fragment:
        """Return a test, the same in every file."""
        return self._object(keys_of(Case))

    def _step(self) -> Fragment:
        expression = {"type": "string", "pattern": r"^\s*\{\{[\s\S]*\}\}\s*$"}
        special = {
            "prompt": self._prompt(),
            "generate": {"anyOf": [_NULL, {"type": "string"}, self._timed(GenerateKeys)]},
            "as": {"type": "string", "pattern": _whole(IDENTIFIER)},
            "when": {"anyOf": [{"type": "boolean"}, _NULL, expression, _ENVIRONMENT]},
            "timeout": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _DURATION, _ENVIRONMENT]},
            "gather": self._ref("gather"),
            "rank": self._ref("ranker"),
            "choose": {"type": "array", "minItems": 1, "items": self._branch(expression)},
            "together": {"type": "array", "minItems": 1, "items": self._ref("part")},
            "call": {"anyOf": [_PIPELINE_FILE, self._object(keys_of(CallStepKeys), {"pipeline": _PIPELINE_FILE})]},
        }
        verbs = [{"required": [verb]} for verb in VERBS]
        return {
            **self._object(keys_of(StepKeys), special),
            "oneOf": verbs,
            "allOf": [
                {"if": {"required": ["into"]}, "then": {"required": ["generate"]}},
                *({"not": {"required": ["as", verb]}} for verb in ("prompt", "choose", "together")),
                {"not": {"required": ["timeout", "choose"]}},
            ],
        }

    def _branch(self, expression: Fragment) -> Fragment:
        when = {"anyOf": [{"type": "boolean"}, _NULL, expression, _ENVIRONMENT]}
        steps = {"type": "array", "minItems": 1, "items": self._ref("step")}
        return self._object(keys_of(BranchKeys), {"when": when, "steps": steps})

    def _gather(self) -> Fragment:
        core = [spec for spec in keys_of(GatherKeys) if spec.name != "use"]
        taken = {spec.name for spec in core}
        timeout = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _DURATION, _ENVIRONMENT]}
        ways = next(spec for spec in keys_of(ExpandKeys) if spec.name == "by")
        whole = self._object(keys_of(ExpandKeys), {"timeout": timeout})
        special: dict[str, Fragment] = {"expand": {"anyOf": [_NULL, self._value(ways.annotation, ways), whole]}}
        found: list[Fragment] = []
        for use, cls in self.components.get(Kind.SOURCE, {}).items():
            own = [spec for spec in options_of(cls) if spec.name not in taken]
            found += self._used(use, cls, [*core, *own], special)
        return {"anyOf": [*found, *self._unknown(Kind.SOURCE)]}

    def _prompt(self) -> Fragment:
        template = {
            "anyOf": [
                self._ref("template"),
                {"type": "string", "pattern": r"^\.{1,2}/|\.jinja$|\.j2$", "description": "A file beside this one."},
                self._object(keys_of(TemplateTextKeys)),
            ]
        }
        return {"anyOf": [*template["anyOf"][:2], self._object(keys_of(PromptKeys), {"template": template})]}

    def _input(self) -> Fragment:
        scalar = {"type": ["string", "number", "boolean", "null"]}
        return {"anyOf": [scalar, self._object(keys_of(InputKeys))]}

    def _model(self) -> Fragment:
        core = [spec for spec in keys_of(ModelKeys) if spec.name != "use"]
        taken = {spec.name for spec in core} | {"use"}
        special: dict[str, Fragment] = {
            "retry": {"anyOf": [{"type": ["boolean", "null"]}, self._timed(RetryKeys)]},
            "breaker": {"anyOf": [{"type": ["boolean", "null"]}, self._timed(BreakerKeys)]},
            "limits": {"anyOf": [_NULL, self._timed(LimitKeys)]},
            "cache": {"anyOf": [{"type": ["boolean", "null"]}, self._timed(CacheKeys)]},
        }
        found: list[Fragment] = []
        for use, cls in self.components.get(Kind.CONNECTOR, {}).items():
            own = [spec for spec in options_of(cls) if spec.name not in taken]
            found += self._used(use, cls, [*core, *own], special)
        return {"anyOf": [*found, *self._unknown(Kind.CONNECTOR)]}

    def _component(self, kind: Kind) -> Fragment:
        found: list[Fragment] = []
        for use, cls in self.components.get(kind, {}).items():
            found += self._used(use, cls, options_of(cls))
        if kind is Kind.CONNECTOR:
            found.append({"type": "string", "description": "A model of this file."})
        return {"anyOf": [*found, *self._unknown(kind)]}

    def _timed(self, keys: type) -> Fragment:
        """Return a mapping some of whose values are durations or sizes."""
        timed: dict[str, Fragment] = {
            spec.name: {"anyOf": [{"type": "number", **_bounds(float, spec)}, _DURATION, _ENVIRONMENT]}
            for spec in keys_of(keys)
            if is_duration(spec)
        }
        for spec in keys_of(keys):
            if is_size(spec):
                timed[spec.name] = {"anyOf": [{"type": "integer", **_bounds(int, spec)}, _SIZE, _ENVIRONMENT]}
        return self._object(keys_of(keys), timed)

    def _used(
        self, use: str, cls: type, specs: Sequence[OptionSpec], special: Mapping[str, Fragment] | None = None
    ) -> list[Fragment]:
        """Return the forms in which a component can be named: with its options, and alone where none is required."""
        summary = component_summary(cls)
        whole = self._object(specs, special)
        whole["properties"] = {"use": {"const": use, "description": summary}, **whole["properties"]}
        whole["required"] = ["use", *whole.get("required", ())]
        alone = [] if any(spec.required for spec in specs) else [{"const": use, "description": summary}]
        return [*alone, {"description": summary, **whole}]

    def _unknown(self, kind: Kind) -> list[Fragment]:
        """Return the forms whose component cannot be told from the file alone."""
        names: list[Fragment] = [_ENVIRONMENT]
        if self.open:
            names.append({"type": "string", "not": {"enum": list(self.components.get(kind, {}))}})
        return [
            form
            for name in names
            for form in (name, {"type": "object", "required": ["use"], "properties": {"use": name}})
        ]

    def _object(self, specs: Sequence[OptionSpec], special: Mapping[str, Fragment] | None = None) -> Fragment:
        """Return a mapping with exactly these keys; `special` has the fragments of those that need their own."""
        properties = {}
        for spec in specs:
            fragment = (special or {}).get(spec.name) or self._value(spec.annotation, spec)
            properties[spec.name] = {**_described(spec), **fragment}
        required = [spec.name for spec in specs if spec.required]
        found: Fragment = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**found, "required": required} if required else found

    def _value(self, annotation: Any, spec: OptionSpec) -> Fragment:
        if annotation is Any:
            return {}
        forms = [self._single(part, spec) for part in alternatives(annotation)]
        if allows_none(annotation):
            forms.append(_NULL)
        return forms[0] if len(forms) == 1 else {"anyOf": forms}

    def _single(self, annotation: Any, spec: OptionSpec) -> Fragment:
        kind, values, entry = kind_of(annotation), choices(annotation), element(annotation)
        if kind is not None:
            return self._ref(kind.word)
        if values is not None:
            return {"anyOf": [{"enum": list(values)}, _ENVIRONMENT]}
        if entry is not None:
            return {"type": "array", "items": self._value(entry, spec)}
        if option_types.is_mapping(annotation):
            return {"type": "object", "additionalProperties": self._value(mapped(annotation), spec)}
        if option_types.is_record(annotation):
            return self._object(options_of(annotation))
        if annotation in (str, Secret):
            return _text(spec)
        if annotation is CallablePipeline:
            return _PIPELINE_FILE
        if annotation in _TYPES:
            return {"anyOf": [{"type": _TYPES[annotation], **_bounds(annotation, spec)}, _ENVIRONMENT]}
        return {}

    def _name(self, word: str) -> str:
        return word + _OPEN_SUFFIX if self.open else word

    def _ref(self, word: str) -> Fragment:
        return {"$ref": f"#/$defs/{self._name(word)}"}


def _described(spec: OptionSpec) -> Fragment:
    found: Fragment = {"description": spec.help} if spec.help else {}
    default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
    simple = (str, int, float, bool)
    if isinstance(default, simple) or (
        isinstance(default, list) and default and all(isinstance(part, simple) for part in default)
    ):
        found["default"] = default
    return found


def _text(spec: OptionSpec) -> Fragment:
    if spec.pattern is None:
        return {"type": "string"}
    return {"type": "string", "anyOf": [{"pattern": _whole(spec.pattern)}, {"pattern": r"\$\{"}]}


def _bounds(annotation: Any, spec: OptionSpec) -> Fragment:
    if annotation is bool:
        return {}
    limits = {"minimum": spec.ge, "maximum": spec.le, "exclusiveMinimum": spec.gt}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$" if re.escape(pattern) != pattern else f"^{pattern}$"

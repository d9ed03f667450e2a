"""Checks the values of a file against declared options, whoever declares them: a component, or the language itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from attrs import NOTHING, frozen

from nexus_core.config import option_types
from nexus_core.config.option_types import allows_none, alternatives, any_of, choices, element, kind_of, mapped, words
from nexus_core.config.spec import RecordSpec
from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.scalars import DURATIONS, is_number, seconds
from nexus_core.config.yaml.tree import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    UnreadableNode,
    is_readable,
    plain,
    shown,
)
from nexus_core.contract.components import Kind, OptionSpec
from nexus_core.contract.run_context import CallablePipeline
from nexus_core.toolkit.secrets import Secret
from nexus_core.toolkit.suggest import did_you_mean, instead

BAD: Final[Any] = NOTHING
"""What stands for a value whose problem has been noted."""

Nested = Callable[[Node, Kind], Any]
"""Reads a component inside an option; returns BAD after noting why it cannot."""

_BOOLEAN_WORDS = frozenset({"yes", "no", "on", "off", "y", "n"})


@frozen(eq=False, repr=False)
class Options:
    """Reads mappings and values by their declarations."""

    problems: Problems
    nested: Nested
    declared: Callable[[type, Node], Sequence[OptionSpec] | None]
    """Returns the options of an attrs class, or `None` after noting that they cannot be read; must not raise."""
    is_model: Callable[[str], bool] = lambda name: False
    """Tells whether the file declares a model of this name."""
    called: Callable[[Node], Any] = lambda node: BAD
    """Reads the name of another pipeline's file; returns BAD after noting what is wrong."""

    def mapping(
        self, node: MappingNode, specs: Sequence[OptionSpec], owner: str, *, skip: Collection[str] = (), more: str = ""
    ) -> dict[str, Any]:
        """Return the sound values of a mapping by key; unknown and missing keys and wrong values are noted.

        `skip` names keys that are known and that the caller reads itself; `more` says what lists many.
        """
        known = {spec.name: spec for spec in specs}
        found = {}
        for key, value in node.items():
            if key.text in known and key.text not in skip:
                checked = self.value(value, known[key.text], known[key.text].annotation, key.text)
                if checked is not BAD:
                    found[key.text] = checked
            elif key.text not in skip:
                self.unknown(key, owner, [*known, *(name for name in skip if name not in known)], more)
        self._report_missing(node, specs, owner)
        return found

    def unknown(self, key: ScalarNode, owner: str, known: Sequence[str], more: str = "") -> None:
        """Note a key that nobody knows, with the ones that there are."""
        message = f"{owner} takes no {quoted(key.text)}{instead(key.text, known, 'it takes', more)}"
        self.problems.error("S002", key.place, message)

    def _report_missing(self, node: MappingNode, specs: Sequence[OptionSpec], owner: str) -> None:
        present = set(node.names())
        for spec in specs:
            if spec.required and spec.name not in present:
                self.problems.error("S003", node.place, f"{owner} needs `{spec.name}`{_meaning(spec)}")

    def value(self, node: Node, spec: OptionSpec, annotation: Any, label: str) -> Any:
        """Return a node's value as the annotation asks for it, or BAD after noting what is wrong."""
        if isinstance(node, UnreadableNode):
            return BAD
        if _is_nothing(node) and allows_none(annotation):
            return None
        parts = alternatives(annotation)
        if len(parts) > 1:
            fitting = self._named_connector(node, spec, parts) or next(
                (part for part in parts if _fits(node, part)), None
            )
            return self._wrong(node, annotation, label) if fitting is None else self.value(node, spec, fitting, label)
        return self._single(node, spec, parts[0] if parts else Any, label)

    def duration(self, node: Node | None, spec: OptionSpec) -> float | None:
        """Return a duration in seconds, which stands as a number or as a text; `None` after noting what is wrong."""
        if node is None:
            return None
        value = self.value(node, spec, spec.annotation, spec.name)
        if not isinstance(value, str):
            return None if value is BAD else value
        duration = seconds(value)
        if not duration:
            message = f"`{spec.name}` must be seconds, or {DURATIONS}, found {shown(node)}"
            self.problems.error("T004", node.place, message)
        return duration

    def _named_connector(self, node: Node, spec: OptionSpec, parts: Sequence[Any]) -> Any:
        """Return the type of a connector where texts are allowed too, and this one names a model or has not their form.

        So an option may take a folder's path by its pattern, and every other text stays the name of a connector.
        """
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            return None
        if self.is_model(node.text) or not _may_have_form(node.text, spec.pattern):
            return next((part for part in parts if kind_of(part) is Kind.CONNECTOR), None)
        return None

    def _single(self, node: Node, spec: OptionSpec, annotation: Any, label: str) -> Any:
        kind = kind_of(annotation)
        if kind is not None:
            return self.nested(node, kind)
        if annotation is CallablePipeline:
            return self.called(node)
        if element(annotation) is not None:
            return self._list(node, spec, annotation, label)
        if option_types.is_mapping(annotation):
            return self._mapping(node, spec, annotation, label)
        if option_types.is_record(annotation):
            return self._record(node, annotation, label)
        if choices(annotation) is not None:
            return self._choice(node, annotation, label)
        if annotation in option_types.LEAVES:
            return self._leaf(node, spec, annotation, label)
        return plain(node) if is_readable(node) else BAD

    def _list(self, node: Node, spec: OptionSpec, annotation: Any, label: str) -> Any:
        if not isinstance(node, SequenceNode):
            return self._wrong(node, annotation, label, _list_hint(node))
        inner = element(annotation)
        values = [self.value(item, spec, inner, f"{label}[{index}]") for index, item in enumerate(node.items)]
        return BAD if any(value is BAD for value in values) else tuple(values)

    def _mapping(self, node: Node, spec: OptionSpec, annotation: Any, label: str) -> Any:
        if not isinstance(node, MappingNode):
            return self._wrong(node, annotation, label)
        inner = mapped(annotation)
        values = {key.text: self.value(value, spec, inner, f"{label}.{_cut(key.text)}") for key, value in node.items()}
        return BAD if any(value is BAD for value in values.values()) else values

    def _record(self, node: Node, cls: Any, label: str) -> Any:
        if not isinstance(node, MappingNode):
            return self._wrong(node, cls, label)
        specs = self.declared(cls, node)
        if specs is None:
            return BAD
        before = self.problems.errors
        fields = self.mapping(node, specs, f"`{label}`")
        return RecordSpec(cls=cls, fields=fields, place=node.place) if self.problems.errors == before else BAD

    def _choice(self, node: Node, annotation: Any, label: str) -> Any:
        allowed = choices(annotation) or ()
        if isinstance(node, ScalarNode):
            for value in allowed:
                if type(value) is type(node.value) and value == node.value:
                    return value
        names = [str(value) for value in allowed]
        hint = "" if not isinstance(node, ScalarNode) or node.interpolated else did_you_mean(node.text, names)
        self.problems.error("T003", node.place, f"`{label}` must be {any_of(names)}, found {shown(node)}{hint}")
        return BAD

    def _leaf(self, node: Node, spec: OptionSpec, annotation: Any, label: str) -> Any:
        if not isinstance(node, ScalarNode) or not _fits(node, annotation):
            return self._wrong(node, annotation, label, _leaf_hint(node, annotation))
        if annotation is Secret:
            if re.fullmatch(r"\$[A-Z_][A-Z0-9_]*", node.source):
                message = f"`{label}` is sent as it stands: write ${{NAME}}, in braces, for the value of a variable"
                self.problems.warn("E002", node.place, message)
            return Secret(node.text)
        if annotation is str:
            return node.text if self._has_form(node, spec, label) else BAD
        if annotation is bool:
            return node.value
        number: Any = float(node.value) if annotation is float else node.value  # type: ignore[arg-type]
        return number if self.in_bounds(number, spec, node, label) else BAD

    def in_bounds(self, number: float, spec: OptionSpec, node: Node, label: str) -> bool:
        """Tell whether a number is within the bounds of its option; if not, that is noted."""
        low = spec.ge is None or number >= spec.ge
        high = spec.le is None or number <= spec.le
        above = spec.gt is None or number > spec.gt
        if not (low and high and above):
            self.problems.error("T002", node.place, f"`{label}` must be {bounds(spec)}, found {shown(node)}")
        return low and high and above

    def _has_form(self, node: ScalarNode, spec: OptionSpec, label: str) -> bool:
        if spec.pattern is None:
            return True
        try:
            if re.fullmatch(spec.pattern, node.text):
                return True
        except re.error as error:
            message = f"the pattern that `{label}` is declared with is broken ({error}): tell the plugin's author"
            self.problems.error("P004", node.place, message)
            return False
        message = f"`{label}` must match {spec.pattern}, found {shown(node)}{_meaning(spec)}"
        self.problems.error("T004", node.place, message)
        return False

    def _wrong(self, node: Node, annotation: Any, label: str, hint: str = "") -> Any:
        secret = Secret in alternatives(annotation) and isinstance(node, ScalarNode)
        found = "something else" if secret else shown(node)
        self.problems.error("T001", node.place, f"`{label}` must be {words(annotation)}, found {found}{hint}")
        return BAD


def _may_have_form(text: str, pattern: str | None) -> bool:
    """Tell whether a text matches; a broken pattern is left to where it is noted."""
    try:
        return pattern is None or re.fullmatch(pattern, text) is not None
    except re.error:
        return True


def bounds(spec: OptionSpec) -> str:
    """Return the bounds of a number in words."""
    if spec.ge is not None and spec.le is not None:
        return f"from {spec.ge:.15g} to {spec.le:.15g}"
    parts = [
        f"more than {spec.gt:.15g}" if spec.gt is not None else "",
        f"at least {spec.ge:.15g}" if spec.ge is not None else "",
        f"at most {spec.le:.15g}" if spec.le is not None else "",
    ]
    return " and ".join(part for part in parts if part)


def with_defaults(given: Mapping[str, Any], specs: Sequence[OptionSpec]) -> dict[str, Any]:
    """Return given values over the defaults of their declarations."""
    return {spec.name: given.get(spec.name, spec.default) for spec in specs if not spec.required or spec.name in given}


def place_of(node: MappingNode, key: str) -> SourceLocation:
    """Return where the value of a key stands, or the mapping where there is none."""
    value = node.get(key)
    return node.place if value is None else value.place


def _meaning(spec: OptionSpec) -> str:
    """Return the help of an option as the end of a message."""
    text = spec.help.removesuffix(".")
    return f": {text[0].lower() if text[1:2].islower() else text[0]}{text[1:]}" if text else ""


def _is_nothing(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value is None


def _fits(node: Node, annotation: Any) -> bool:
    """Tell whether a node has the shape of a type, so that it is the one meant in a union."""
    if isinstance(node, UnreadableNode) or annotation is Any:
        return True
    if isinstance(node, SequenceNode):
        return element(annotation) is not None
    if isinstance(node, MappingNode):
        mapping = option_types.is_mapping(annotation) or option_types.is_record(annotation)
        return mapping or kind_of(annotation) is not None
    if choices(annotation) is not None:
        return node.value in (choices(annotation) or ())
    if annotation in (str, Secret):
        # What the environment gives is text by nature, even where it looks like a number.
        return isinstance(node.value, str) or node.interpolated
    if annotation is CallablePipeline:
        return isinstance(node.value, str)
    if annotation is bool:
        return isinstance(node.value, bool)
    numbers = (int, float) if annotation is float else (int,)
    if annotation in (int, float):
        return isinstance(node.value, numbers) and not isinstance(node.value, bool)
    return kind_of(annotation) is not None and isinstance(node.value, str)


def _leaf_hint(node: Node, annotation: Any) -> str:
    if not isinstance(node, ScalarNode) or node.value is None:
        return ""
    if annotation is Secret:
        return ": put it in quotes"
    if annotation is str:
        return "" if node.interpolated else f": put it in quotes, as in {quoted(node.source)}"
    if annotation is bool:
        return ", which is a text in YAML 1.2" if node.text.lower() in _BOOLEAN_WORDS and not node.interpolated else ""
    if not isinstance(node.value, str):
        return ""
    if node.interpolated:
        return ": without quotes it is read as a number" if not node.plain else ""
    if not node.plain and is_number(node.text.strip(), whole=annotation is int):
        return ": write it without quotes"
    looks_like = node.text.replace("_", "").replace(",", "").isdecimal()
    return ": write it in digits only, without leading zeros" if looks_like else ""


def _list_hint(node: Node) -> str:
    if isinstance(node, ScalarNode) and node.value is not None and not node.interpolated:
        return f": write it as a list, [{quoted(node.text)}]"
    return ""


def _cut(text: str) -> str:
    return quoted(text)[1:-1]

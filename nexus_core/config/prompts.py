"""The prompt step: its template, its packing policy, its variables."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from attrs import frozen

from nexus_core.config.components import Components
from nexus_core.config.expressions import Expressions, KnownNames, has_expression
from nexus_core.config.keys import ALWAYS_THERE, PromptKeys, TemplateTextKeys, keys_of
from nexus_core.config.names import identifies
from nexus_core.config.options import BAD, place_of, with_defaults
from nexus_core.config.sibling_files import FileRefusedError, SiblingFiles, is_template_path
from nexus_core.config.spec import ComponentSpec, TemplateFile, TemplateText
from nexus_core.config.yaml.problems import Problems, quoted
from nexus_core.config.yaml.tree import MappingEntry, MappingNode, Node, ScalarNode, UnreadableNode, plain, shown
from nexus_core.contract.components import Kind
from nexus_core.contract.optional_protocols import RequiringTemplate
from nexus_core.toolkit.suggest import listed

_READ_HERE = ("template", "variables")


@frozen(eq=False, repr=False)
class Prompts:
    """Reads the bodies of prompt steps."""

    components: Components
    expressions: Expressions
    folder: SiblingFiles

    @property
    def _problems(self) -> Problems:
        return self.components.problems

    def read(self, node: Node, names: KnownNames, label: str) -> dict[str, Any] | None:
        """Return the fields of a PromptSpec, or `None` after noting what is wrong."""
        before = self._problems.errors
        body = self._body(node, label)
        if body is None:
            return None
        specs = keys_of(PromptKeys)
        given = self.components.options.mapping(body, specs, label, skip=_READ_HERE)
        variables = self._variables(body.get("variables"), names)
        template_node = body.get("template")
        if template_node is not None:
            given["template"] = self._template(template_node, frozenset(variables or ()), names)
        given["variables"] = {} if variables is None else variables
        self._check_unit(body, given)
        return with_defaults(given, specs) if self._problems.errors == before else None

    def _body(self, node: Node, label: str) -> MappingNode | None:
        """Return the mapping of a prompt step; a template alone is one too."""
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            key = ScalarNode(value="template", text="template", source="template", plain=True, place=node.place)
            return MappingNode((MappingEntry(key, node),), node.place)
        if isinstance(node, MappingNode):
            if "use" not in node or "template" in node:
                return node
            message = (
                f"{label} names its template by `template`, as in {{template: name}} or {{template: {{use: ...}}}}"
            )
            self._problems.error("S003", node.place, message)
        elif not isinstance(node, UnreadableNode):
            message = f"`prompt` must be a template's name, or {{template: ..., budget: ...}}, found {shown(node)}"
            self._problems.error("T001", node.place, message)
        return None

    def _template(self, node: Node, given: Collection[str], names: KnownNames) -> Any:
        if isinstance(node, ScalarNode) and isinstance(node.value, str) and is_template_path(node.text):
            return self._from_file(node, given, names)
        if isinstance(node, MappingNode) and "text" in node and "use" not in node:
            return self._from_text(node, given, names)
        if isinstance(node, MappingNode) and "use" not in node:
            message = "a template needs `use`, its name, or `text`, the template itself"
            self._problems.error("S003", node.place, message)
            return BAD
        spec = self.components.reference(node, Kind.TEMPLATE)
        if isinstance(spec, ComponentSpec):
            self._check_required(spec, given)
        return spec

    def _from_file(self, node: ScalarNode, given: Collection[str], names: KnownNames) -> TemplateFile | None:
        try:
            file = self.folder.template(node.text)
        except FileRefusedError as error:
            self._problems.error("X006", node.place, f"the template file {shown(node)} cannot be used: {error}")
            return None
        self.expressions.template(node, file.text, node.source, given, names)
        return file

    def _from_text(self, node: MappingNode, given: Collection[str], names: KnownNames) -> TemplateText | None:
        fields = self.components.options.mapping(node, keys_of(TemplateTextKeys), "an inline template")
        text = node.get("text")
        if "text" not in fields or not isinstance(text, ScalarNode):
            return None
        self.expressions.template(text, text.text, "text", given, names)
        return TemplateText(text=text.text)

    def _check_required(self, spec: ComponentSpec, given: Collection[str]) -> None:
        if self.components.is_not_run(spec.use):
            return
        cls = self.components.catalogue.component(Kind.TEMPLATE, spec.use)
        if isinstance(cls, RequiringTemplate) and isinstance(cls.required_variables, frozenset | set | tuple | list):
            wanted = [name for name in cls.required_variables if isinstance(name, str)]
            self.expressions.check_given(spec.place, wanted, given)

    def _variables(self, node: Node | None, names: KnownNames) -> dict[str, Any] | None:
        if node is None or isinstance(node, UnreadableNode):
            return None
        if not isinstance(node, MappingNode):
            message = f"`variables` must be a mapping of names to values, found {shown(node)}"
            self._problems.error("T001", node.place, message)
            return None
        for key, value in node.items():
            if identifies(key, "a variable", self._problems) and key.text in ALWAYS_THERE:
                message = f"{quoted(key.text)} is always there and cannot be given: {listed(ALWAYS_THERE)} are taken"
                self._problems.error("N005", key.place, message)
            if isinstance(value, ScalarNode) and has_expression(value):
                self.expressions.check(value, names)
        return {key.text: plain(value) for key, value in node.items()}

    def _check_unit(self, body: MappingNode, given: dict[str, Any]) -> None:
        """An option of the other unit would be ignored, which nobody means."""
        unit = given.get("unit", "passage")
        for name, needs in (("overflow", "item"), ("passage_tokens", "passage")):
            if name in given and unit != needs:
                message = f"`{name}` has no effect with `unit: {unit}`: remove it, or set `unit: {needs}`"
                self._problems.error("S006", place_of(body, name), message)

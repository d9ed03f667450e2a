"""`{{ }}` in a pipeline: where it may stand, whether it can be parsed, and whether what it names will be there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from types import ModuleType

from attrs import frozen

from nexus_core.config.keys import ALWAYS_THERE, EXPRESSION_NAMES
from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, SequenceNode, shown
from nexus_core.contract.errors import TemplateError
from nexus_core.toolkit.suggest import did_you_mean, instead

_OPENINGS = ("{{", "{%", "{#")

TreePath = tuple[str | int, ...]


@frozen(kw_only=True, eq=False, repr=False)
class KnownNames:
    """What is known where an expression or template stands."""

    inputs: Collection[str] | None
    """Declared inputs, or `None` where the declaration cannot be read."""
    vars: Collection[str]
    """What earlier steps keep with `as`."""


@frozen(eq=False, repr=False)
class Expressions:
    """Checks the expressions and templates of one file."""

    problems: Problems

    def check(self, node: ScalarNode, names: KnownNames, *, alone: bool = False) -> bool:
        """Tell whether a text is a sound expression, on request with no text around it; what is wrong is noted."""
        if not self._safe(node):
            return False
        try:
            expression = _jinja().Expression.parse(node.text)
        except TemplateError as error:
            self._unparsable(node, error, "the expression")
            return False
        if alone and not expression.native:
            message = (
                f'`when` must be one expression in braces and quotes, as in "{{{{ items }}}}", found {shown(node)}'
            )
            self.problems.error("T004", node.place, message)
            return False
        before = self.problems.errors
        self._check_top_level(node, expression.variables)
        self._check_dotted(node, expression.names, names)
        return self.problems.errors == before

    def template(self, node: ScalarNode, text: str, name: str, given: Collection[str], names: KnownNames) -> None:
        """Note what is wrong with a template: its syntax, what it reads that is not there, what is there unread."""
        if not self._safe(node):
            return
        try:
            template = _jinja().TextTemplate.parse(text, name)
        except TemplateError as error:
            self._unparsable(node, error, "the template")
            return
        self.check_given(node.place, template.variables, given)
        self._check_dotted(node, template.names, names)
        for unread in sorted(set(given) - set(template.lines)):
            message = f"`variables` gives {quoted(unread)}, which the template {name} does not read"
            self.problems.warn("X008", node.place, message)

    def check_given(self, place: SourceLocation, needed: Iterable[str], given: Collection[str]) -> None:
        """Note the variables that a template reads and nobody gives."""
        for missing in sorted(set(needed) - set(ALWAYS_THERE) - set(given)):
            hint = did_you_mean(missing, [*ALWAYS_THERE, *given])
            message = f"the template reads {quoted(missing)}, which `variables` of the step does not give{hint}"
            self.problems.error("X007", place, message)

    def _check_top_level(self, node: ScalarNode, found: Iterable[str]) -> None:
        for name in sorted(set(found) - set(EXPRESSION_NAMES)):
            what = f"a name in {quoted(node.source)}" if node.interpolated else quoted(name)
            rest = instead(None if node.interpolated else name, EXPRESSION_NAMES, "known are")
            self.problems.error("X002", node.place, f"{what} is unknown to expressions{rest}")

    def _check_dotted(self, node: ScalarNode, paths: Iterable[str], names: KnownNames) -> None:
        for path in sorted(paths):
            first, *rest = path.split(".")
            if first == "inputs" and rest and names.inputs is not None and rest[0] not in names.inputs:
                self._unknown("X003", node, rest[0], names.inputs, "no input is named", "declared under `inputs`")
            if first == "vars" and rest and rest[0] not in names.vars:
                self._unknown("X004", node, rest[0], names.vars, "no earlier step keeps", "kept with `as` so far")

    def _unknown(self, code: str, node: ScalarNode, name: str, known: Collection[str], what: str, which: str) -> None:
        found = f"what {quoted(node.source)} asks for" if node.interpolated else quoted(name)
        rest = instead(None if node.interpolated else name, known, which)
        self.problems.error(code, node.place, f"{what} {found}{rest}")

    def _unparsable(self, node: ScalarNode, error: TemplateError, what: str) -> None:
        # The reason may quote the text, and the text may hold a secret.
        reason = "" if node.interpolated else f": {error}"
        self.problems.error("X001", node.place, f"{what} cannot be parsed{reason}")

    def _safe(self, node: ScalarNode) -> bool:
        """What comes from the environment is data: it may not bring an expression of its own."""
        brought = [mark for mark in _OPENINGS if node.text.count(mark) > node.source.count(mark)]
        if node.interpolated and brought:
            message = f"the value of {quoted(node.source)} holds {brought[0]}: no expression comes from the environment"
            self.problems.error("E004", node.place, message)
            return False
        return True


def _jinja() -> ModuleType:
    """Return the templates, which bring Jinja: only where there is something to parse."""
    from nexus_core.toolkit.templates import template

    return template


def has_expression(node: Node) -> bool:
    """Tell whether a node is a text that will be evaluated."""
    return isinstance(node, ScalarNode) and isinstance(node.value, str) and "{{" in node.text


def report_stray(tree: Node, problems: Problems) -> None:
    """Note each `{{` that would stay as it is. In texts for a plugin it is a warning: there it may be meant."""
    for path, node in _texts(tree, ()):
        if "{{" not in node.source or path[:1] == ("tests",) or _is_evaluated(path):
            continue
        message = "{{ }} is not evaluated here, only in `when`, in `variables` of a prompt, in `call` and in templates"
        if _is_for_plugin(path):
            problems.warn("X005", node.place, f"{message}: the text stays as it is")
        else:
            problems.error("X005", node.place, message)


def _texts(node: Node, path: TreePath) -> Iterable[tuple[TreePath, ScalarNode]]:
    if isinstance(node, MappingNode):
        for key, value in node.items():
            if "{{" in key.source:
                yield (*path, "a key"), key
            yield from _texts(value, (*path, key.text))
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.items):
            yield from _texts(item, (*path, index))
    elif isinstance(node, ScalarNode):
        yield path, node


def _is_evaluated(path: TreePath) -> bool:
    path = _innermost(path)
    if path[:1] != ("steps",) or path[-1:] == ("a key",):
        return False
    return path[2:] in (("when",), ("prompt", "template", "text"), ("call", "query")) or (
        path[2:4] in (("prompt", "variables"), ("call", "inputs")) and len(path) == 5
    )


def _innermost(path: TreePath) -> TreePath:
    """Return a path as if the step that it leads into stood within no other one; so for a branch and its `when`."""
    while path[:1] == ("steps",) and path[2:3] in (("choose",), ("together",)):
        into_branch = path[2] == "choose" and path[4:5] == ("steps",)
        path = ("steps", *path[5 if into_branch else 3 :])
    return path


def _is_for_plugin(path: TreePath) -> bool:
    path = _innermost(path)
    return path[:1] == ("steps",) and (path[2:3] == ("gather",) or path[2:4] == ("prompt", "template"))

"""What a template may be made of, what it reads, and the bounds written into it before it is compiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from attrs import frozen
from jinja2 import meta, nodes
from jinja2.visitor import NodeTransformer

from nexus_core.toolkit.suggest import did_you_mean, listed
from nexus_core.toolkit.templates.sandbox import COUNTED, JOINED, LITERAL, STEP_WORK, WEIGHED, sandbox

SOURCE_LIMIT = 64 << 10
"""Characters of a template."""
_NODES = 2000
_DEPTH = 50
_NODE_WORK = 80

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.AssignBlock,
    nodes.FilterBlock, nodes.With, nodes.NSRef, nodes.Name, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict,
    nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem, nodes.Getattr,
    nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr,
)  # fmt: skip


class SyntaxRefusedError(Exception):
    """The template holds something that is not available, or too much of it."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@frozen
class Reads:
    """What a template reads."""

    variables: frozenset[str]
    """Top-level names that have no default."""
    names: frozenset[str]
    """Dotted paths that have no default, such as `inputs.tone`."""
    lines: dict[str, int]
    """Where each variable is first read."""


def examine(tree: nodes.Template) -> Reads:
    """Return what a parsed template reads; raise `SyntaxRefusedError` on what it may not hold."""
    paths: dict[str, int] = {}
    optional: set[str] = set()
    methods: set[str] = set()
    for count, (node, depth) in enumerate(_walk(tree, 0)):
        line = node.lineno or 1
        if count >= _NODES or depth > _DEPTH:
            raise SyntaxRefusedError(
                f"it has over {_NODES} parts or is nested over {_DEPTH} deep: make it simpler", line
            )
        _check(node, line)
        if path := _path(node):
            paths.setdefault(path, line)
        match node:
            case (
                nodes.Filter(name="default" | "d", node=guarded)
                | nodes.Test(name="defined" | "undefined", node=guarded)
            ):
                optional.add(_path(guarded))
            case nodes.Call(node=called):
                methods.add(_path(called))
    for method in methods:
        paths.pop(method, None)
    undeclared = meta.find_undeclared_variables(tree) - sandbox().globals.keys()
    read = {path: line for path, line in paths.items() if path.split(".")[0] in undeclared and path not in optional}
    # The walk also meets the inner parts of a dotted path; only the whole path is what is read.
    whole = frozenset(path for path in read if not any(other.startswith(path + ".") for other in paths))
    lines: dict[str, int] = {}
    for path, line in paths.items():
        lines.setdefault(path.split(".")[0], line)
    return Reads(frozenset(undeclared - optional), whole, lines)


def bound(tree: nodes.Template) -> nodes.Template:
    """Return the template with every loop counted and every `~`, list and mapping weighed."""
    bounded = _Bounds().visit(tree)
    bounded.set_environment(sandbox())
    return bounded  # type: ignore[no-any-return]


class _Bounds(NodeTransformer):
    """Wraps the parts of a template that can grow in filters that charge for it."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        """Count the steps, dearer the more a step does."""
        body = [inner for part in node.body for inner, _ in _walk(part, 0)]
        written = sum(len(part.data) for part in body if isinstance(part, nodes.TemplateData))
        step = STEP_WORK + _NODE_WORK * len(body) + written
        self.generic_visit(node)
        node.iter = _filtered(cast(nodes.Expr, node.iter), COUNTED, nodes.Const(step, lineno=node.lineno))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        """Weigh what is compared or searched."""
        self.generic_visit(node)
        sides: tuple[nodes.Compare | nodes.Operand, ...] = (node, *node.ops)
        for side in sides:
            if not isinstance(side.expr, nodes.Const):
                side.expr = _filtered(side.expr, WEIGHED)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        """Weigh a slice."""
        self.generic_visit(node)
        return _filtered(node, WEIGHED) if isinstance(node.arg, nodes.Slice) else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        """Weigh the result."""
        self.generic_visit(node)
        return _filtered(nodes.Tuple(node.nodes, "load", lineno=node.lineno), JOINED)

    def visit_List(self, node: nodes.List) -> nodes.Expr:
        """Weigh a list that is not made of constants."""
        self.generic_visit(node)
        return node if _constant(node.items) else _filtered(node, LITERAL)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        """Weigh a tuple that is read, not one that is assigned to."""
        self.generic_visit(node)
        return node if node.ctx != "load" or _constant(node.items) else _filtered(node, LITERAL)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:
        """Weigh a mapping that is not made of constants."""
        self.generic_visit(node)
        return node if _constant([pair.value for pair in node.items]) else _filtered(node, LITERAL)


def _filtered(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def _constant(parts: list[nodes.Expr]) -> bool:
    return all(isinstance(part, nodes.Const) for part in parts)


def _walk(node: nodes.Node, depth: int) -> Iterator[tuple[nodes.Node, int]]:
    """Yield a node and what is in it, each with its depth; stops going deeper where `examine` will refuse."""
    yield node, depth
    if depth <= _DEPTH:
        for child in node.iter_child_nodes():
            yield from _walk(child, depth + 1)


def _check(node: nodes.Node, line: int) -> None:
    if not isinstance(node, _ALLOWED):
        raise SyntaxRefusedError(f"{type(node).__name__.lower()} is not available in templates", line)
    if isinstance(node, nodes.For) and node.recursive:
        raise SyntaxRefusedError("a recursive loop is not available in templates", line)
    if isinstance(node, nodes.Name) and node.name == "self":
        raise SyntaxRefusedError("self is not available in templates", line)
    if isinstance(node, nodes.Filter):
        _check_name("filter", node.name, sandbox().filters, line)
    if isinstance(node, nodes.Test):
        _check_name("test", node.name, sandbox().tests, line)


def _check_name(what: str, name: str, known: Iterable[str], line: int) -> None:
    if name not in known:
        names = sorted(word for word in known if word.isalpha())
        raise SyntaxRefusedError(
            f"there is no {what} {name!r}{did_you_mean(name, names)}; there are {listed(names)}", line
        )


def _path(node: nodes.Node | None) -> str:
    """Return the dotted path a node reads, or an empty text if it is none."""
    match node:
        case nodes.Name(ctx="load", name=name):
            return str(name)
        case nodes.Getattr(node=owner, attr=key) | nodes.Getitem(node=owner, arg=nodes.Const(value=str(key))):
            path = _path(owner)
            return f"{path}.{key}" if path else ""
    return ""

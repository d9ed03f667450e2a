"""What a template may be made of, what it reads, and the bounds written into it before it is compiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen
from jinja2 import nodes
from jinja2.meta import TrackingCodeGenerator
from jinja2.visitor import NodeTransformer

from nexus_core.toolkit.suggest import did_you_mean, listed
from nexus_core.toolkit.templates.sandbox import COUNTED, JOINED, MOST_VALUES, NESTED_LIMIT, STEP_WORK, WEIGHED, sandbox

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
    generator = TrackingCodeGenerator(sandbox())
    generator.optimizer = None  # as in `meta.find_undeclared_variables`, which would run what is made of constants
    generator.visit(tree)
    undeclared = generator.undeclared_identifiers - sandbox().globals.keys()
    read = {path: line for path, line in paths.items() if path.split(".")[0] in undeclared and path not in optional}
    # The walk also meets the inner parts of a dotted path; only the whole path is what is read.
    whole = frozenset(path for path in read if not any(other.startswith(path + ".") for other in paths))
    lines: dict[str, int] = {}
    for path, line in paths.items():
        lines.setdefault(path.split(".")[0], line)
    return Reads(frozenset(undeclared - optional), whole, lines)


def bound(tree: nodes.Template) -> nodes.Template:
    """Return the template with every loop counted, and weighed what is made, searched, compared or looked up."""
    bounded = _Bounds().visit(tree)
    bounded.set_environment(sandbox())
    return bounded  # type: ignore[no-any-return]


class _Bounds(NodeTransformer):
    """Wraps the parts of a template that can grow in filters that charge for it."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """Wrap the inner parts, and then the node itself."""
        step = _step_work(node) if isinstance(node, nodes.For) else 0
        super().generic_visit(node, *args, **kwargs)
        match node:
            case nodes.For():
                node.iter = _filtered(node.iter, COUNTED, step)
            case nodes.Compare() | nodes.Operand():
                node.expr = _weighed(node.expr)
            case nodes.Pair():
                node.key = _weighed(node.key)
            case nodes.Getitem(arg=nodes.Slice()):
                return _filtered(node, WEIGHED)
            case nodes.Getitem():
                node.arg = _weighed(node.arg)
            case nodes.Concat():
                return _filtered(nodes.Tuple(node.nodes, "load", lineno=node.lineno), JOINED)
            case nodes.Filter() if node.name not in ("d", "default"):
                node.node = node.node and _filtered(node.node, WEIGHED)
                # What is picked out of a list was there before, and may be a name that is missing and gets a default.
                return node if node.name in ("first", "last") else _filtered(node, WEIGHED)
            case nodes.List() | nodes.Tuple() | nodes.Dict() if not _is_constant(node):
                return _filtered(node, WEIGHED, NESTED_LIMIT)
        return node


def _step_work(loop: nodes.For) -> int:
    """Return what a step of a loop is charged: the more, the more it does."""
    body = [inner for part in loop.body for inner, _ in _walk(part, 0)]
    written = sum(len(part.data) for part in body if isinstance(part, nodes.TemplateData))
    return STEP_WORK + _NODE_WORK * len(body) + written


def _filtered(node: nodes.Node, name: str, *args: int) -> nodes.Filter:
    constants = [nodes.Const(arg, lineno=node.lineno) for arg in args]
    return nodes.Filter(node, name, constants, [], None, None, lineno=node.lineno)


def _weighed(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filtered(node, WEIGHED, MOST_VALUES)


def _is_constant(node: nodes.List | nodes.Tuple | nodes.Dict) -> bool:
    """Return whether it holds nothing but constants, or is a tuple that is assigned to."""
    parts = [pair.value for pair in node.items] if isinstance(node, nodes.Dict) else node.items
    return getattr(node, "ctx", "load") != "load" or all(isinstance(part, nodes.Const) for part in parts)


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

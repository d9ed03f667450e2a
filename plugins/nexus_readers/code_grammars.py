"""Source code by its grammar: what a file defines, where it begins with its comments, and where it ends.

Uses the grammars of tree-sitter where they are installed; each reads a file in time in proportion to its size, and is
stopped where it does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from time import thread_time
from typing import Any

from attrs import frozen

_GRAMMARS = {
    ".py": "python", ".pyi": "python", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript",
    ".jsx": "javascript", ".ts": "typescript", ".tsx": "typescript:language_tsx", ".go": "go", ".rs": "rust",
    ".java": "java", ".c": "c", ".h": "cpp", ".cc": "cpp", ".cpp": "cpp", ".cxx": "cpp", ".hh": "cpp", ".hpp": "cpp",
    ".cs": "c_sharp", ".rb": "ruby", ".php": "php:language_php", ".sh": "bash", ".bash": "bash", ".scala": "scala",
    ".kt": "kotlin", ".kts": "kotlin", ".swift": "swift", ".lua": "lua",
}  # fmt: skip
_FUNCTIONS = frozenset(
    """function_definition function_declaration function_item function_signature_item method_definition
    method_declaration method singleton_method constructor_declaration destructor_declaration init_declaration
    generator_function_declaration function_signature abstract_method_signature operator_declaration
    property_declaration type_alias_declaration type_item macro_definition macro_rules const_item static_item
    deinit_declaration subscript_declaration secondary_constructor""".split()
)
_CONTAINERS = frozenset(
    """class_definition class_declaration abstract_class_declaration class_specifier struct_specifier union_specifier
    enum_specifier interface_declaration annotation_type_declaration enum_declaration struct_declaration
    record_declaration trait_declaration trait_item trait_definition impl_item mod_item struct_item enum_item union_item
    namespace_definition namespace_declaration internal_module object_definition object_declaration protocol_declaration
    class module singleton_class companion_object extension_definition enum_definition package_clause""".split()
)
_AROUND = frozenset(
    """export_statement decorated_definition template_declaration ambient_declaration type_declaration
    linkage_specification preproc_ifdef preproc_if preproc_else declaration_list class_body body_statement
    field_declaration_list block statement_block interface_body enum_body enum_class_body template_body
    compound_statement enum_body_declarations declaration_section protocol_body expression_statement lexical_declaration
    variable_declaration file_scoped_namespace_declaration program_body impl_body""".split()
)
"""What stands around definitions and has no name of its own."""
_THIN = frozenset(
    """export_statement decorated_definition template_declaration ambient_declaration type_declaration
    lexical_declaration variable_declaration""".split()
)
"""What stands around one definition only, and begins with it."""
_VALUES = frozenset({"arrow_function", "function_expression", "function", "generator_function", "class"})
_NAMES = frozenset("identifier type_identifier simple_identifier constant name field_identifier".split())
_DEEPEST = 30
_MOST_S, _S_PER_BYTE = 0.1, 5e-6
"""CPU time of one file before its grammar is stopped, several times what any program takes: only text made
to keep a parser in doubt takes more than in proportion. Then the lines of the file tell what it defines."""
_CHUNK = 1 << 16


@frozen
class Definition:
    """What a file defines, in whole lines."""

    name: str
    """With what it stands in: `Store.get`."""
    first: int
    """Its first line, from 0, with the comments right above it."""
    last: int
    """The line after its last one."""
    depth: int = 0


def language_of(suffix: str) -> str:
    """Return the language of files with a suffix, as fences name it; empty where no grammar is known."""
    return _GRAMMARS.get(suffix, "").partition(":")[0].replace("_", "")


def definitions(text: str, suffix: str) -> list[Definition] | None:
    """Return what a file defines, in its order, outer before inner; None where no grammar can tell."""
    parser = _parser(suffix)
    if parser is None:
        return None
    data = text.encode("utf-8", "replace")
    end = thread_time() + _MOST_S + len(data) * _S_PER_BYTE
    try:
        tree = parser.parse(
            lambda offset, _: data[offset : offset + _CHUNK], progress_callback=lambda *_: thread_time() > end
        )
    except ValueError:  # stopped
        parser.reset()
        return None
    if tree is None:
        return None
    return list(_walk(tree.root_node, data))


_parsers: dict[str, Any] = {}


def _parser(suffix: str) -> Any:
    """Return the parser of a suffix; None where it has none, or the grammar is not installed."""
    named = _GRAMMARS.get(suffix)
    if named is None:
        return None
    if named not in _parsers:
        name, _, function = named.partition(":")
        try:
            sitter, grammar = import_module("tree_sitter"), import_module(f"tree_sitter_{name}")
            language = getattr(grammar, function or ("language_typescript" if name == "typescript" else "language"))
            _parsers[named] = sitter.Parser(sitter.Language(language()))
        except (ImportError, AttributeError, ValueError, TypeError):  # not there, or of another version
            _parsers[named] = None
    return _parsers[named]


def _walk(root: Any, data: bytes) -> Iterator[Definition]:
    waiting: list[tuple[Any, str, int, int]] = [(root, "", 0, -1)]
    while waiting:
        node, inside, depth, begins = waiting.pop()
        children = node.named_children
        starts = list(_starts(children))
        below = []
        for child, first in zip(children, starts, strict=True):
            below.append((child, begins if begins >= 0 and node.type in _THIN else first))
        if node is root or (node.type in _AROUND and _bound(node) is None):
            waiting.extend(reversed(list(_next(below, inside, depth))))
            continue
        name = _name(node, data)
        whole = f"{inside}.{name}" if inside and name else name or inside
        if name:
            yield Definition(whole, begins if begins >= 0 else node.start_point[0], node.end_point[0] + 1, depth)
        if node.type in _CONTAINERS and depth < _DEEPEST:
            parts = [part for child in children if child.type in _AROUND for part in [child]]
            waiting.extend((part, whole, depth + 1, -1) for part in reversed(parts))


def _next(children: Sequence[tuple[Any, int]], inside: str, depth: int) -> Iterator[tuple[Any, str, int, int]]:
    """Yield the children that are definitions, or stand around some."""
    for child, first in children:
        if child.type in _FUNCTIONS or child.type in _CONTAINERS or _bound(child) is not None:
            yield child, inside, depth, first
        elif child.type in _AROUND and depth < _DEEPEST:
            yield child, inside, depth + 1, first


def _starts(children: Sequence[Any]) -> Iterator[int]:
    """Yield for each child the line at which it begins, with the comments and attributes right above it."""
    first = end = -2
    for child in children:
        line = child.start_point[0]
        is_comment = "comment" in child.type or child.type in ("attribute_item", "inner_attribute_item", "annotation")
        attached = line <= end + 1 and first >= 0
        begins = first if attached else line
        yield begins
        first = begins if is_comment else -2
        # A comment of Rust ends at the start of the next line.
        end = child.end_point[0] - (child.end_point[1] == 0) if is_comment else -2


def _bound(node: Any) -> Any:
    """Return the node that names a function which is bound to a name, as in `const f = () => ...`; None for others."""
    if node.type in ("lexical_declaration", "variable_declaration", "expression_statement"):
        inner = node.named_children[0] if node.named_children else None
        if inner is not None and inner.type in ("variable_declarator", "assignment_expression"):
            value = inner.child_by_field_name("value") or inner.child_by_field_name("right")
            if value is not None and value.type in _VALUES:
                return inner.child_by_field_name("name") or inner.child_by_field_name("left")
    elif node.type == "type_spec":
        return node.child_by_field_name("name")
    return None


def _name(node: Any, data: bytes) -> str:
    """Return what a definition is called; empty where it has no name."""
    named = _bound(node) or node.child_by_field_name("name")
    if node.type == "impl_item":
        named = node.child_by_field_name("type")
    declarator, steps = node.child_by_field_name("declarator"), 0
    while named is None and declarator is not None and steps < _DEEPEST:
        inner = declarator.child_by_field_name("declarator")
        if inner is None:
            named = declarator
        declarator, steps = inner, steps + 1
    if named is None:
        named = next((child for child in node.named_children if child.type in _NAMES), None)
    if named is None:
        return "init" if node.type in ("init_declaration", "deinit_declaration") else ""
    text = " ".join(_text(named, data).split())[:100]
    receiver = node.child_by_field_name("receiver")
    if receiver is not None:  # of a method of Go: `(s *Store[T])`
        kind = _text(receiver, data).partition("[")[0].strip("() ").split(" ")[-1].lstrip("*")
        text = f"{kind}.{text}"
    return text


def _text(node: Any, data: bytes) -> str:
    """Return the text of a node; its own `text` would read a chunk of the file anew for each."""
    return data[node.start_byte : node.end_byte].decode("utf-8", "replace")

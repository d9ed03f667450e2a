"""JSON Schemas of tests as functions that check values; nothing that a schema refers to is fetched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Never

import fastjsonschema

from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, SequenceNode

Validator = Callable[[Any], object]
"""Raises JsonSchemaValueException where a value is not what its schema allows."""


class RemoteReferenceError(ValueError):
    """A schema refers to another document, which would have to be fetched."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"`$ref` refers to another document, {uri}, and none is fetched: copy what it means into it")
        self.uri = uri
        """What the reference means, with the `$id` of its schema."""


class _NoFetching(Mapping[str, Callable[[str], Any]]):
    """Handlers for every scheme of URIs there is or will be, so that fastjsonschema itself fetches nothing."""

    def __getitem__(self, scheme: str) -> Callable[[str], Any]:
        return _refuse

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, scheme: object) -> bool:
        return True


def _refuse(uri: str) -> Never:
    raise RemoteReferenceError(uri)


def compile_schema(schema: Mapping[str, Any]) -> Validator:
    """Return what checks values by a schema up to draft 7; raises whatever fastjsonschema does where it is none."""
    return _compiled(json.dumps(schema))


@lru_cache(maxsize=64)  # lint and the run of a test both want it
def _compiled(text: str) -> Validator:
    validator: Validator = fastjsonschema.compile(json.loads(text), handlers=_NoFetching())
    return validator


def reference_node(node: Node | None, uri: str) -> ScalarNode | None:
    """Return the `$ref` in the node of a schema that means this URI, if it stands there in full or at its end."""
    waiting = [node]
    while waiting:
        match waiting.pop():
            case MappingNode() as mapping:
                found = mapping.get("$ref")
                document = found.text.partition("#")[0] if isinstance(found, ScalarNode) else ""
                if isinstance(found, ScalarNode) and document and uri.endswith(document):
                    return found
                waiting += [value for _, value in mapping.items()]
            case SequenceNode() as sequence:
                waiting += sequence.items
    return None

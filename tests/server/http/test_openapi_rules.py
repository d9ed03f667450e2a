"""Rules of the OpenAPI document that linters such as `redocly lint` and generators of clients hold it to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from generated_pages import resolved

from nexus_core import Pipeline
from nexus_core.server.http.components import OpenAPIComponents
from nexus_core.server.http.json_schema import closed
from nexus_core.server.http.openapi import document
from nexus_core.server.server import Server
from nexus_core.server.settings import ServerSettings
from nexus_core.store.store import Store

ROOT = Path(__file__).parent.parent.parent.parent
ENVELOPE = ("properties", "patternProperties")


def made(folder: Path, prefix: str) -> dict[str, Any]:
    """Return the document of a server with these routes below a prefix; it does not listen."""
    pipelines = {"quickstart": Pipeline.load(ROOT / "pipelines" / "quickstart.yaml", environment={})}
    settings = ServerSettings(prefix=prefix)
    return document(Server(pipelines, Store(folder / "store"), settings).routes(), prefix)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made(tmp_path_factory.mktemp("api"), "/api")


def operations(api: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations, each by its method and path."""
    return {f"{method} {path}": each for path, methods in api["paths"].items() for method, each in methods.items()}


def nodes(value: Any, where: str = "#") -> Iterator[tuple[str, Any]]:
    """Yield all values within a value, each with its place."""
    yield where, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in parts:
        yield from nodes(each, f"{where}/{key}")


def references(api: Mapping[str, Any]) -> Counter[str]:
    return Counter(each["$ref"] for _, each in nodes(api) if isinstance(each, dict) and "$ref" in each)


def test_each_operation_says_who_may_ask_and_what_goes_wrong(api: dict[str, Any]) -> None:
    """A scheme that is declared, or none by an empty list; one 4xx at least, and an answer where all goes well."""
    schemes = set(api["components"]["securitySchemes"])
    for name, each in operations(api).items():
        assert {scheme for option in each["security"] for scheme in option} <= schemes, name
        assert any(status.startswith("4") for status in each["responses"]), name
        assert any(status.startswith(("2", "3")) for status in each["responses"]), name


def test_operation_ids_are_unique_and_the_same_below_any_prefix(api: dict[str, Any], tmp_path: Path) -> None:
    """Generated clients name their functions by them."""
    names = [each["operationId"] for each in operations(api).values()]
    assert [name for name, count in Counter(name.lower() for name in names).items() if count > 1] == []
    assert [name for name in names if not re.fullmatch("[a-z][A-Za-z0-9]*", name)] == []
    assert [each["operationId"] for each in operations(made(tmp_path, "/elsewhere")).values()] == names


def test_tags_are_declared_and_used(api: dict[str, Any]) -> None:
    """One for each operation, each with a description; and every operation has a summary of its own."""
    used = [each["tags"] for each in operations(api).values()]
    assert all(len(tags) == 1 for tags in used)
    assert {tag for tags in used for tag in tags} == {tag["name"] for tag in api["tags"]}
    assert all(tag["description"] for tag in api["tags"])
    assert all(each["summary"].endswith(".") for each in operations(api).values())


def test_every_component_is_used_and_every_reference_is_resolved(api: dict[str, Any]) -> None:
    kinds = {kind: found for kind, found in api["components"].items() if kind != "securitySchemes"}
    known = {f"#/components/{kind}/{name}" for kind, found in kinds.items() for name in found}
    assert set(references(api)) == known
    assert len({name.lower() for name in api["components"]["schemas"]}) == len(api["components"]["schemas"]) > 60
    assert [name for name in api["components"]["schemas"] if not re.fullmatch("[A-Z][A-Za-z0-9]*", name)] == []


def test_objects_with_fields_have_names(api: dict[str, Any]) -> None:
    """So that clients have one type for each: no object is spelt out but as a component, and none twice."""
    roots = {f"#/components/schemas/{name}" for name in api["components"]["schemas"]}
    anonymous = [
        where for where, each in nodes(api)
        if isinstance(each, dict) and each.get("type") == "object" and "properties" in each and where not in roots
    ]  # fmt: skip
    assert anonymous == []
    shapes = Counter(str(each) for each in api["components"]["schemas"].values() if "properties" in each)
    assert [shape for shape, count in shapes.items() if count > 1] == []


def test_parameters_of_a_path_are_those_in_its_address(api: dict[str, Any]) -> None:
    """Each named once in a place, and those of the path required."""
    for path, methods in resolved(api)["paths"].items():
        for each in methods.values():
            found = [(said["in"], said["name"]) for said in each.get("parameters", ())]
            assert len(set(found)) == len(found), path
            assert {name for place, name in found if place == "path"} == set(re.findall(r"{(\w+)}", path)), path
            assert all(said["required"] for said in each.get("parameters", ()) if said["in"] == "path"), path


def test_no_two_paths_match_the_same_address(api: dict[str, Any]) -> None:
    """A segment that may be anything stands beside no fixed one."""
    split = {path: path.strip("/").split("/") for path in api["paths"]}
    ambiguous = [
        (one, other) for one, other in combinations(split, 2)
        if len(split[one]) == len(split[other])
        and all(a == b or "{" in a or "{" in b for a, b in zip(split[one], split[other], strict=True))
    ]  # fmt: skip
    assert ambiguous == []


def test_examples_are_what_their_schemas_let_through(api: dict[str, Any]) -> None:
    whole = resolved({**api, "paths": api["components"]["schemas"]})["paths"]
    found = [(name, schema, example) for name, schema in whole.items() for example in schema.get("examples", ())]
    for name, schema, example in found:
        assert jsonschema.Draft202012Validator(schema).is_valid(example), name
    assert len(found) >= 6


def test_schemas_say_nothing_that_cannot_be(api: dict[str, Any]) -> None:
    """Values of an `enum` are texts or numbers of one kind, alternatives are two or more, what is required is there."""
    for where, each in nodes(api):
        if not isinstance(each, dict) or where.rpartition("/")[2] in ENVELOPE:
            continue
        if "enum" in each:
            assert len({type(value) for value in each["enum"]}) == 1, where
            assert isinstance(each["enum"][0], str | int), where
        for alternatives in (each[key] for key in ("anyOf", "oneOf") if key in each):
            assert len(alternatives) > 1, where
            assert all(alternatives), where
        if isinstance(each.get("required"), list):
            assert set(each["required"]) <= set(each.get("properties", ())), where


def test_licence_is_that_of_the_package(api: dict[str, Any]) -> None:
    assert f'license = "{api["info"]["license"]["identifier"]}"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_two_schemas_of_one_name_are_refused() -> None:
    """The same one may be used as often as wanted, and a field may be called `title`."""
    components = OpenAPIComponents()
    page = closed({"title": {"type": "string"}}, name="Page")
    assert components.schema({"type": "array", "items": page})["items"] == components.schema(page)
    assert components.all()["schemas"]["Page"]["properties"] == {"title": {"type": "string"}}
    with pytest.raises(ValueError, match="two different schemas named 'Page'"):
        components.schema({"anyOf": [closed({}, name="Page"), {"type": "null"}]})

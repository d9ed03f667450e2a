"""Every example is linted, validated against the schema, run and explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from nexus_core import Pipeline
from nexus_core.config.check import check
from nexus_core.config.schema import schema
from nexus_core.engine.plugins import PluginRegistry

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "pipelines").glob("*.yaml"))
OFFLINE = [path for path in EXAMPLES if "use: extractive" in path.read_text()]


def example_id(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", EXAMPLES, ids=example_id)
def test_example_lints_without_any_problem(path: Path) -> None:
    """An example is free of warnings too."""
    assert check(path.read_bytes(), str(path), PluginRegistry.installed(), {}).problems == ()


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    """The schema with the plugins of the examples, itself checked once."""
    known = schema(PluginRegistry.installed().with_files([ROOT / "pipelines/my_rankers.py"]).all_components())
    assert validator_for(known) is Draft202012Validator
    Draft202012Validator.check_schema(known)
    return Draft202012Validator(known)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=example_id)
def test_example_validates_against_the_schema(path: Path, validator: Draft202012Validator) -> None:
    """An editor shows no red line in an example."""
    validator.validate(yaml.safe_load(path.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("path", OFFLINE, ids=example_id)
async def test_example_answers_offline(path: Path) -> None:
    """An example with an offline model answers without a key, and cites its sources."""
    environment = {"LOCAL_BASE_URL": "http://127.0.0.1:9/v1"}  # nobody listens there
    async with Pipeline.load(path, environment=environment) as pipeline:
        answer = await pipeline.run("Do API keys ever appear in errors or logs?")
    assert answer.model == "offline"
    assert re.search(r"\[\d+\]", answer.text)
    assert answer.prompt.items

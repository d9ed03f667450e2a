"""The compose file: by the schema of its specification, and with no secret but in files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.deploy.test_image import known, options

FILE = Path(__file__).parents[2] / "deploy" / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text("utf-8"))
SERVICES = COMPOSE["services"]


def test_the_file_is_one_by_the_specification() -> None:
    """The schema is the one that the linter's package brings along."""
    linter = Path(sys.executable).parent / "check-jsonschema"
    command = [str(linter), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_server_is_started_with_options_that_it_has() -> None:
    """And confined: no capability, and nothing to write but its volume and /tmp."""
    server = SERVICES["nexus"]
    assert options(server["command"]) <= known()
    assert (server["read_only"], server["cap_drop"]) == (True, ["ALL"])
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])


def test_secrets_are_files_alone() -> None:
    """None in an argument or a variable, and none of a service that has no need of it."""
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    used = {name for service in SERVICES.values() for name in service["secrets"]}
    assert used == set(COMPOSE["secrets"])
    for service in SERVICES.values():
        told = {**service.get("environment", {}), **dict(enumerate(service.get("command", ())))}
        named = {value for value in told.values() if re.search("secret|password|credential", str(value))}
        assert all("/run/secrets/" in value for value in named)


def test_each_service_tells_its_health_and_has_a_version() -> None:
    """The server starts when those that it needs are healthy."""
    assert all("healthcheck" in service for service in SERVICES.values())
    assert all(re.search(r":\d", service["image"]) for service in SERVICES.values())
    needs = SERVICES["nexus"]["depends_on"]
    assert {name: each["condition"] for name, each in needs.items()} == dict.fromkeys(
        ("postgres", "objects"), "service_healthy"
    )

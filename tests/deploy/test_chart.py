"""The Helm chart: rendered by Helm's own library, and checked by the schemas of Kubernetes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.test_image import known, options

pytest.importorskip("helm_python")
pytestmark = pytest.mark.slow
CHART = Path(__file__).parents[2] / "deploy" / "chart"
POSTGRES = {"replicaCount": 3, "store": {"urlSecret": "database"}}
ALL = {
    "replicaCount": 3,
    "store": {"urlSecret": "database", "objects": "s3://bucket/originals"},
    "image": {"tag": "2", "pullSecrets": ["registry"]},
    "pipelines": {"configMap": "pipelines"},
    "secretFiles": "files",
    "environmentSecrets": ["models"],
    "environment": {"TZ": "UTC"},
    "server": {"extraArguments": ["--runs=128"]},
    "telemetry": {"endpoint": "http://collector:4318", "sampler": "traceidratio", "samplerArgument": "0.1"},
    "ingress": {
        "enabled": True,
        "className": "x",
        "host": "nexus.example",
        "tlsSecret": "tls",
        "annotations": {"a": "b"},
    },
    "serviceMonitor": {"enabled": True, "keySecret": "metrics"},
    "serviceAccount": {"annotations": {"role": "reader"}},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
CASES: dict[str, dict[str, Any]] = {
    "folder": {},
    "claim": {"persistence": {"existingClaim": "mine"}},
    "class": {"persistence": {"storageClass": "fast"}, "podDisruptionBudget": {"enabled": False}},
    "maintenance": {"maintenance": True},
    "postgres": POSTGRES,
    "all": ALL,
}
PROGRAM = """
import json, sys, helm_python
with helm_python.Chart.load(sys.argv[1]) as chart:
    values = json.loads(sys.argv[2])
    chart.validate_schema(values)
    print(json.dumps([chart.render(values, name="demo", namespace="prod"), helm_python.lint(sys.argv[1])]))
"""


def helm(values: dict[str, Any]) -> Any:
    """Return what Helm makes of the chart, and what its linter says; in a process of its own, since it is Go's."""
    return _helm(json.dumps(values))


@cache
def _helm(values: str) -> Any:
    command = [sys.executable, "-c", PROGRAM, str(CHART), values]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return json.loads(done.stdout)


def resources(values: dict[str, Any]) -> dict[str, Any]:
    """Return the resources of the chart by kind."""
    texts = [text for name, text in helm(values)[0].items() if name.endswith(".yaml")]
    found = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return {each["kind"]: each for each in found}


def container(found: dict[str, Any]) -> Any:
    """Return the one container of the servers."""
    [one] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    return one


@pytest.mark.parametrize("version", ["1.28", "1.37"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_rendered_is_taken_by_kubernetes(case: str, version: str) -> None:
    """Strictly, by the oldest version that the chart names and by the newest; a ServiceMonitor has no schema."""
    found = resources(CASES[case])
    checked = [each for kind, each in found.items() if kind != "ServiceMonitor"]
    assert {each["kind"] for each in checked} >= {"Deployment", "Service", "ServiceAccount"}
    for each in checked:
        kubernetes_validate.validate(each, version, strict=True)


def test_helm_lints_the_chart() -> None:
    """Nothing but that it has no picture."""
    messages = [message["error"] for message in helm({})[1]["messages"]]
    assert messages in (["icon is recommended"], [])


def test_a_store_in_a_folder_has_one_server_and_a_volume() -> None:
    """The old one lets go of it before the new one starts."""
    found = resources({})
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert found["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert found["PersistentVolumeClaim"]["metadata"]["name"] == "demo-data"
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "demo-data"}} in pod["volumes"]
    with pytest.raises(ValueError, match=r"several servers need one Postgres.*Set store\.urlSecret"):
        helm({"replicaCount": 2})


def test_servers_of_one_postgres_are_replaced_one_by_one_and_read_its_url_from_a_file() -> None:
    """No claim: what a server derives lies on a disk that goes with it."""
    found = resources(POSTGRES)
    spec = found["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]) == (3, {"maxUnavailable": 0, "maxSurge": 1})
    assert "PersistentVolumeClaim" not in found
    assert "--store-url-file=/run/secrets/store/url" in container(found)["args"]
    assert {"name": "store-url", "mountPath": "/run/secrets/store", "readOnly": True} in container(found)[
        "volumeMounts"
    ]


@pytest.mark.parametrize("case", CASES)
def test_containers_are_confined(case: str) -> None:
    """Nobody's user, a root that is read-only, no capability and no token of the cluster."""
    found = resources(CASES[case])
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert container(found)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_all_that_is_set_arrives() -> None:
    """Options that the server has, variables of OpenTelemetry, probes, a budget, the scraper's key."""
    found = resources(ALL)
    one = container(found)
    assert options(one["args"]) <= known()
    assert {"name": "OTEL_TRACES_SAMPLER_ARG", "value": "0.1"} in one["env"]
    assert {"name": "NEXUS_OBJECTS", "value": "s3://bucket/originals"} in one["env"]
    assert {one[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")} == {
        "/readyz", "/healthz",
    }  # fmt: skip
    assert found["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    [scraped] = found["ServiceMonitor"]["spec"]["endpoints"]
    assert scraped["authorization"]["credentials"] == {"name": "metrics", "key": "key"}
    assert found["Ingress"]["spec"]["tls"] == [{"hosts": ["nexus.example"], "secretName": "tls"}]


def test_in_maintenance_a_pod_waits_for_commands() -> None:
    """It serves nothing, and no probe ends it."""
    one = container(resources({"maintenance": True}))
    assert one["command"] == ["sleep", "infinity"]
    assert not {"args", "startupProbe", "livenessProbe"} & set(one)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 2}, "replicas"),
        ({"server": {"port": "http"}}, "port"),
        ({"telemetry": {"endpoint": "collector:4317"}}, "endpoint"),
        ({"ingress": {"enabled": True, "host": "a.example"}}, "tlsSecret"),
        ({"serviceMonitor": {"enabled": True}}, "keySecret"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: dict[str, Any], said: str) -> None:
    """By the schema or by the template, with the value's name."""
    with pytest.raises(ValueError, match=said):
        helm(values)


def test_the_table_has_every_value() -> None:
    """With its default, where that is short; what is free within is one row."""
    rows = dict(
        re.findall(r"^\| `([\w.]+)` \|\s*([^|]*?)\s*\|", (CHART / "README.md").read_text("utf-8"), re.MULTILINE)
    )
    values = dict(_leaves(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")), ""))
    resources_row = rows.pop("resources")
    assert resources_row == "250m, 512Mi to 2Gi"
    assert rows == {name: told for name, told in values.items() if not name.startswith("resources.")}


def _leaves(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [leaf for key, part in value.items() for leaf in _leaves(part, f"{name}.{key}".strip("."))]
    told = "" if value == "" else f"`{json.dumps(value).strip(chr(34))}`"
    return [(name, told)]

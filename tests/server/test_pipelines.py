"""Which files of a folder a server takes for pipelines."""

from __future__ import annotations

from pathlib import Path

from nexus_core.server.pipelines import pipeline_files


def test_a_server_does_not_take_tests_for_pipelines(tmp_path: Path) -> None:
    """A folder of pipelines may hold the files of their tests."""
    for name in ("a.yaml", "a.tests.yaml", "b.yml", "b.tests.yml"):
        (tmp_path / name).write_text("")
    assert [path.name for path in pipeline_files([str(tmp_path)])] == ["a.yaml", "b.yml"]

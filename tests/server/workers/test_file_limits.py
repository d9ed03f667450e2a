"""Room for the files that connections are."""

from __future__ import annotations

import sys

import pytest

from nexus_core.server.settings import ServerLimits
from nexus_core.server.workers.file_limits import connections_within, make_room

if sys.platform == "win32":
    pytest.skip("limits of a process", allow_module_level=True)

import resource


@pytest.fixture(autouse=True)
def restored() -> object:
    """Let the process of the tests have its limits again."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_room_is_made_for_connections_and_their_upstreams() -> None:
    """Where the system allows more than it gives without being asked."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    assert make_room(ServerLimits(connections=100)) == ""
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (456, hard)


def test_more_room_than_needed_stays() -> None:
    """Nobody's limit is lowered."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert make_room(ServerLimits(connections=1)) == ""
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_too_little_room_is_said() -> None:
    """With both figures, since more is for the system to allow."""
    said = make_room(ServerLimits(connections=10**12))
    assert "1,000,000,000,000 connections may need 2,000,000,000,256 open files" in said


@pytest.mark.parametrize(
    ("allowed", "least", "most"),
    [
        pytest.param(64, 1, 16, id="64"),
        pytest.param(300, 40, 75, id="300"),
        pytest.param(1024, 250, 384, id="1024"),
    ],
)
def test_connections_are_fewer_where_files_are_few(allowed: int, least: int, most: int) -> None:
    """Each has a second file for its upstream, and the store keeps its own."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    assert least <= connections_within(ServerLimits()) <= most


def test_connections_are_all_that_were_asked_for_where_files_suffice() -> None:
    """By what `make_room` gets of the system."""
    assert make_room(ServerLimits(connections=100)) == ""
    assert connections_within(ServerLimits(connections=100)) == 100

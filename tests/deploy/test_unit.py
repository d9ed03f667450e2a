"""The unit of systemd: taken by systemd itself, hardened, and with options that the server has."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.test_image import known, options

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = (FOLDER / "contextnexus.service").read_text("utf-8")
PROGRAM = "/opt/contextnexus/bin/nexus"
analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def copied(folder: Path, *, drop_in: bool) -> Path:
    """Return a copy of the unit whose program is one that is there, with the part for Postgres or without."""
    unit = folder / "contextnexus.service"
    unit.write_text(UNIT.replace(PROGRAM, "/bin/true"))
    if drop_in:
        parts = folder / "contextnexus.service.d"
        parts.mkdir()
        (parts / "postgres.conf").write_text(
            (FOLDER / "postgres.conf").read_text("utf-8").replace(PROGRAM, "/bin/true")
        )
    return unit


@analyze
@pytest.mark.slow
@pytest.mark.parametrize("drop_in", [False, True], ids=["folder", "postgres"])
def test_systemd_takes_the_unit(tmp_path: Path, drop_in: bool) -> None:
    """Without a word: it names what it does not know and what it would pass over."""
    unit = copied(tmp_path, drop_in=drop_in)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "contextnexus" in line]) == (0, [])


@analyze
@pytest.mark.slow
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    """At most 2.0 by systemd's own measure, in which 10 is a service without any bounds."""
    unit = copied(tmp_path, drop_in=False)
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["contextnexus.service", "postgres.conf"])
def test_the_program_is_given_options_that_it_has(name: str) -> None:
    """In the unit and in what changes it for Postgres."""
    [line] = re.findall(r"^ExecStart=(\S.+)$", (FOLDER / name).read_text("utf-8"), re.MULTILINE)
    program, verb, *arguments = shlex.split(line)
    assert (program, verb) == (PROGRAM, "serve")
    assert options(arguments) <= known()

"""The image: its file is linted, its files are there, its command is taken, and what it installs is small."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from nexus_core.cli.commands.serve import command as serve

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
EXTRAS = frozenset(re.findall(r"^ARG EXTRAS=(.+)$", DOCKERFILE, re.MULTILINE)[0].split(","))
MOST_MB = 120


def options(arguments: list[str]) -> set[str]:
    """Return the long options among arguments of `nexus serve`."""
    return {word.partition("=")[0] for word in arguments if word.startswith("--")}


def known() -> set[str]:
    """Return the options of `nexus serve`."""
    return {name for parameter in serve.params for name in parameter.opts}


def distributions(extras: frozenset[str]) -> Mapping[str, Distribution]:
    """Return what is installed for the package with some extras, itself left out."""
    found: dict[tuple[str, frozenset[str]], Distribution] = {}
    todo = [("contextnexus", extras)]
    while todo:
        name, wanted = todo.pop()
        found[name, wanted] = distribution(name)
        for requirement in map(Requirement, found[name, wanted].requires or ()):
            marker, next_one = requirement.marker, (requirement.name.lower(), frozenset(requirement.extras))
            if next_one not in found and (marker is None or any(marker.evaluate({"extra": e}) for e in ("", *wanted))):
                todo.append(next_one)
    return {name: each for (name, _), each in found.items() if name != "contextnexus"}


def copied(distributions: Mapping[str, Distribution], folder: Path) -> Path:
    """Return a folder with the files of distributions, as `pip install --target --no-compile` lays them."""
    for each in distributions.values():
        for file in each.files or ():
            if (
                ".." not in file.parts
                and file.suffix != ".pyc"
                and (source := Path(str(each.locate_file(file)))).is_file()
            ):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / file)
    return folder


def test_the_dockerfile_has_nothing_that_hadolint_warns_of() -> None:
    """Down to what is a matter of style."""
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_image_is_of_no_root_and_names_versions() -> None:
    """A user by number, base images with a version, and a health check."""
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert re.search(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)[1] != "0"  # type: ignore[index]
    assert re.fullmatch(r"3\.\d+", arguments["PYTHON"])
    assert all(image.startswith("python:${PYTHON}-") for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert "HEALTHCHECK" in DOCKERFILE


def test_what_the_image_copies_is_sent_to_the_builder() -> None:
    """The file of what is ignored names each file that is not, and none is missing here."""
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    files = {word for line in lines for word in shlex.split(line)[:-1]}
    assert files <= sent
    assert all((ROOT / file).exists() for file in files)


def test_the_command_and_the_extras_of_the_image_are_those_of_the_package() -> None:
    """An option that is renamed is renamed there, too."""
    [told] = re.findall(r"^CMD \[(.+)\]$", DOCKERFILE, re.MULTILINE)
    assert options(shlex.split(told.replace(",", " "))) <= known()
    offered = set(distribution("contextnexus").metadata.get_all("Provides-Extra") or ())
    assert offered >= EXTRAS


@pytest.mark.slow
def test_what_the_image_installs_is_small(tmp_path: Path) -> None:
    """The packages of the core and of the image's extras, slimmed as the image is; without compiled files."""
    if shutil.which("strip") is None:
        pytest.skip("needs strip, of binutils")
    found = distributions(EXTRAS)
    before = copied(found, tmp_path)
    subprocess.run(["sh", DEPLOY / "slim.sh", before], check=True)
    size = sum(file.stat().st_size for file in before.rglob("*") if file.is_file())
    assert "numpy" in found
    assert size < MOST_MB * 1e6


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Give the address of the readiness route of a server."""
    command = (sys.executable, "-P", "-m", "nexus_core", "serve", "--port", "0", "--store", "kept")
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield next(line.split()[-1] for line in process.stderr if line.startswith("listening on")) + "/readyz"
        process.terminate()


def healthy(address: str) -> int:
    """Return the exit code of the health check."""
    command = [sys.executable, str(DEPLOY / "healthcheck.py")]
    return subprocess.run(command, env={"NEXUS_HEALTH_URL": address}, check=False).returncode


@pytest.mark.slow
def test_the_health_check_follows_the_readiness_of_a_server(tmp_path: Path) -> None:
    """0 where it takes requests, 1 where nobody listens."""
    with served(tmp_path) as address:
        there = healthy(address)
    assert (there, healthy(address)) == (0, 1)

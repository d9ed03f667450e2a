"""What was skipped is told in the last line, and is a failure where nothing may be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONFTEST = Path(__file__).parent / "conftest.py"
TESTS = """
import pytest

def test_a(): assert True

@pytest.mark.parametrize("n", [1, 2])
def test_b(n): pytest.skip("there is no browser")

@pytest.mark.skipif(True, reason="needs strace")
def test_c(): assert True
"""


def run(folder: Path, tests: str, *arguments: str, forbid: str = "0") -> subprocess.CompletedProcess[str]:
    """Run tests in a folder of their own under the conftest of this one."""
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_some.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    # Plugins that the tests in there do not need make a start several times as long.
    environment = {**os.environ, "NEXUS_FORBID_SKIPS": forbid, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=200
    )


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n", "2")], ids=["one", "workers"])
def test_the_last_line_tells_what_was_skipped_and_why(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Below pytest's own summary, with counts, in one process and in several."""
    done = run(tmp_path, TESTS, *arguments)
    *_, summary, last = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert "1 passed, 3 skipped" in summary
    assert last == "3 skipped: there is no browser (2); needs strace (1)"


def test_a_run_that_must_not_skip_fails(tmp_path: Path) -> None:
    """In CI a browser test that did not run is no success."""
    done = run(tmp_path, TESTS, forbid="1")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith("not excused is: needs strace; there is no browser")


def test_a_skip_that_is_excused_fails_no_run(tmp_path: Path) -> None:
    """What a plugin declares not to have is not there in CI either."""
    done = run(tmp_path, 'import pytest\ndef test_a(): pytest.skip("items is absent: it has none")\n', forbid="1")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 skipped: items is absent: it has none (1)")


def test_a_module_that_is_skipped_as_a_whole_counts(tmp_path: Path) -> None:
    """One whose import gives up, too."""
    done = run(tmp_path, 'import pytest\npytest.importorskip("no_such_module")\n' + TESTS, "--co", forbid="1")
    assert "could not import 'no_such_module'" in done.stdout.splitlines()[-1]


def test_a_run_without_skips_ends_as_ever(tmp_path: Path) -> None:
    """Nothing is added, and nothing fails."""
    done = run(tmp_path, "def test_a(): assert True\n", forbid="1")
    assert (done.returncode, done.stdout.splitlines()[-1].startswith("1 passed")) == (0, True)


MARKED = "import pytest\n@pytest.mark.slow\ndef test_a(): assert True\n"
WHOLE = "import pytest\npytestmark = [pytest.mark.slow]\ndef test_a(): assert True\n"


@pytest.mark.parametrize(
    ("asked", "tests", "is_imported"),
    [
        ("slow", "def test_a(): assert True\n", False),
        ("slow", MARKED, True),
        ("slow", WHOLE, True),
        ("not slow", MARKED, True),
        ("not slow", WHOLE, False),
        ("slow or slow", "def test_a(): assert True\n", True),
    ],
)
def test_a_module_is_imported_where_a_test_of_it_may_be_asked_for(
    tmp_path: Path, asked: str, tests: str, is_imported: bool
) -> None:
    """One that has none by its text is left out before it is imported; each other choice of tests imports all."""
    done = run(tmp_path, "print('imported')\n" + tests, "-m", asked, "-s", "-W", "ignore")
    assert ("imported" in done.stdout) == is_imported, done.stdout

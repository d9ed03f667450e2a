"""A store by a plugin: the one of docs/how-to/write-a-store.md passes the suite, and broken ones break alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import pytest

from nexus_core import NexusError, PluginError, Store, StoreError, UsageError
from nexus_core.testing import StoreContract
from tests.test_readme import blocks

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "write-a-store.md"
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write a distribution with one module into a folder that this process and its children look into."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))

    def write(
        code: str | None, *, scheme: str = "acme", value: str = "acme_store:place_of", name: str = "acme"
    ) -> None:
        module = value.partition(":")[0]
        if code is not None:
            (site / f"{module}.py").write_text(code)
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[contextnexus.stores]\n{scheme} = {value}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
        # The metadata of a search path is read once: another path for each distribution.
        monkeypatch.syspath_prepend(str(site / name))

    return write


def example() -> str:
    """Return the module that the page shows."""
    return next(body for what, name, body in blocks(PAGE) if what == "file" and name == "nexus_sqlite_file.py")


class TestSqliteFile(StoreContract):
    """The example of the page."""

    absent = {"loss": "the database is a file"}  # noqa: RUF012 - as authors write it

    @pytest.fixture(autouse=True)
    def _installed(self, install: Install, tmp_path: Path) -> None:
        install(example(), scheme="sqlite-file", value="nexus_sqlite_file:place_of", name="nexus_sqlite_file")
        self.above = tmp_path

    def url(self) -> str:
        return f"sqlite-file://{self.above}/{token_hex(4)}.db"


RAISES = "def place_of(url): raise RuntimeError(f'no route to {url}')"
LACKS = """
from nexus_core.store import ServerPaths
class Place(ServerPaths):
    def connect(self, *, writes, takes_older=False):
        CONNECTION
def place_of(url): return Place.of(url)
"""


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        pytest.param("import absent_driver", UsageError, "of acme, cannot be used .*absent_driver.*anew", id="import"),
        pytest.param(None, UsageError, "cannot be used .*ModuleNotFoundError", id="stale entry point"),
        pytest.param("def broken(:", PluginError, "of acme, failed at import: SyntaxError", id="syntax"),
        pytest.param("raise SystemExit(3)", PluginError, "failed at import: SystemExit", id="exit"),
        pytest.param("x = 1", PluginError, "failed at import: AttributeError.*place_of", id="no such name"),
        pytest.param(RAISES, PluginError, r"failed: RuntimeError: no route to acme://ann:\*\*\*@host", id="raises"),
        pytest.param("place_of = str", PluginError, "gave a str in the place of a `StorePaths`", id="nonsense"),
        pytest.param("place_of = 3", PluginError, "failed: TypeError: 'int' object is not callable", id="no function"),
        pytest.param(LACKS.replace("CONNECTION", "raise OSError(self.url)"), StoreError,
                     r"at acme://ann@host/name cannot be opened: OSError: acme://ann:\*\*\*@host", id="connect raises"),
        pytest.param(LACKS.replace("CONNECTION", "return object()"), PluginError, "lacks check_version, clock, close",
                     id="connection"),
        pytest.param(LACKS.replace("connect(self", "open(self"), PluginError, "TypeError.*abstract.*connect",
                     id="abstract"),
    ],
)  # fmt: skip
async def test_a_broken_store_says_so_and_breaks_nothing_else(
    code: str | None, error: type[NexusError], said: str, install: Install, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It is named with its distribution, without the password; other stores open as ever."""
    monkeypatch.setenv("NEXUS_STORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    install(code)
    with pytest.raises(error, match=said) as raised:
        await Store("acme://ann:s3cret@host/name").__aenter__()
    assert "s3cret" not in str(raised.value)
    async with Store(tmp_path / "folder") as store:
        await store.create("notes")
    with pytest.raises(UsageError, match="no store for URLs of 'mysql'.* acme"):
        Store("mysql://host/name")


def test_a_scheme_that_two_distributions_claim_is_refused(install: Install) -> None:
    """Which one was meant nobody knows; both are named."""
    install(RAISES)
    install("place_of = str", value="other_store:place_of", name="other")
    with pytest.raises(PluginError, match="'acme' is claimed by acme and other: uninstall"):
        Store("acme://host/name")

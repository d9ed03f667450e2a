"""The files of the page as they are served."""

from __future__ import annotations

import gzip
import re
from hashlib import sha256
from importlib.resources import files
from typing import Any

import pytest

from nexus_core.server.page.files import POLICY

pytestmark = pytest.mark.slow

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
PAGE = sorted(path.name for path in files("nexus_core.server.page").iterdir() if path.name.rpartition(".")[2] in TYPES)
ADMIN = sorted(f"admin/{path.name}" for path in files("nexus_core.server.page").joinpath("admin").iterdir())
SHARED = sorted(f"shared/{path.name}" for path in files("nexus_core.server.page").joinpath("shared").iterdir())
VIEWS = sorted(f"views/{path.name}" for path in files("nexus_core.server.page").joinpath("views").iterdir())
FILES = [*PAGE, *ADMIN, *SHARED, *VIEWS]
VENDOR = sorted(f"vendor/{path.name}" for path in files("nexus_core.server.page").joinpath("vendor").iterdir())
SHOWN = {"index.html": "/", "admin/index.html": "/admin", "shared/index.html": "/shared"}


def address(name: str) -> str:
    return SHOWN.get(name, f"/page/{name}")


@pytest.mark.parametrize("name", [*FILES, *(name for name in VENDOR if name.endswith(".js"))])
async def test_file_is_served_as_it_is_packaged(running: Any, name: str) -> None:
    """Each file comes byte for byte, under its type, with the policy of the page."""
    async with running.session.get(running.origin + address(name)) as response:
        assert response.status == 200
        assert await response.read() == files("nexus_core.server.page").joinpath(name).read_bytes()
        assert response.content_type == TYPES[name.rpartition(".")[2]]
        assert response.headers["Content-Security-Policy"] == POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("accepted", ["", "br", "gzip", "deflate, gzip, br", "gzip;q=0"])
async def test_file_is_compressed_for_who_takes_it(running: Any, accepted: str) -> None:
    """And comes as it is to all others."""
    async with running.session.get(
        running.origin + "/page/page.css", headers={"Accept-Encoding": accepted}, auto_decompress=False
    ) as response:
        data = await response.read()
        packed = response.headers.get("Content-Encoding") == "gzip"
        assert response.headers["Vary"] == "Accept-Encoding"
    assert packed is (accepted in ("gzip", "deflate, gzip, br"))
    whole = files("nexus_core.server.page").joinpath("page.css").read_bytes()
    assert (gzip.decompress(data) if packed else data) == whole


def test_page_weighs_little() -> None:
    """As much as docs/explanation/page.md says, at most; libraries come after the first paint."""
    weights = [
        sum(len(files("nexus_core.server.page").joinpath(name).read_bytes()) for name in names)
        for names in (PAGE, ADMIN, SHARED, [name for name in VENDOR if name.endswith(".js")], VIEWS)
    ]
    assert weights[0] < 128_000
    assert weights[1] < 19_000
    assert weights[2] < 11_000
    assert weights[3] < 350_000
    assert weights[4] < 26_000
    first = files("nexus_core.server.page").joinpath("index.html").read_text()
    assert not re.search("page/(?:vendor|views)", first)


def test_libraries_are_those_of_the_table() -> None:
    """Each file by its hash, with its version and its licence beside it, and no file that is not in the table."""
    folder = files("nexus_core.server.page").joinpath("vendor")
    row = re.compile(r"^\| `([^`]+)` .*\| ([\d.]+) \| [A-Z][^|]+, `([^`]+)` \| `([0-9a-f]{64})` \|$", re.MULTILINE)
    rows = row.findall(folder.joinpath("README.md").read_text())
    for name, version, licence, digest in rows:
        data = folder.joinpath(name).read_bytes()
        assert sha256(data).hexdigest() == digest, name
        assert version in data.decode(), name
        assert "copyright" in folder.joinpath(licence).read_text().lower()
    told = {name for row in rows for name in (row[0], row[2])}
    assert {path.name for path in folder.iterdir()} == {"README.md", *told}


async def test_file_is_not_sent_again(running: Any) -> None:
    """A browser that has a file is told that it is still the same."""
    async with running.session.get(running.origin + "/page/page.css") as response:
        known = response.headers["ETag"]
    async with running.session.get(running.origin + "/page/page.css", headers={"If-None-Match": known}) as response:
        assert response.status == 304
        assert response.headers["ETag"] == known
    async with running.session.get(running.origin + "/page/page.css", headers={"If-None-Match": '"other"'}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/files.py",
        "/page/../serve.py",
        "/page/admin/",
        "/admin/index.html",
        "/page/%2e%2e/serve.py",
        "/page/vendor/README.md",
        "/page/nothing.js",
    ],
)
async def test_nothing_else_is_served(running: Any, path: str) -> None:
    """There is no way to other files, also none of the same folder."""
    assert (await running.call("GET", path))[0] == 404


async def test_page_needs_no_key(start: Any) -> None:
    """The page itself is for everybody, since it asks for the key."""

    async def nobody(key: str) -> None:
        return None

    running = await start(verify=nobody)
    async with running.session.get(running.origin + "/") as response:
        assert response.status == 200
    assert (await running.call("GET", "/api/pipelines"))[0] == 401


async def test_page_knows_the_prefix(start: Any) -> None:
    """The page asks the API where it is, and the prefix is no markup."""
    running = await start(prefix='/ask"><b>')
    for path in SHOWN.values():
        async with running.session.get(running.origin + path) as response:
            assert '<meta name="prefix" content="/ask&quot;&gt;&lt;b&gt;">' in await response.text()


def test_policy_allows_nothing_inline() -> None:
    """Scripts and styles are files; nothing comes from elsewhere."""
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


@pytest.mark.parametrize("name", FILES)
def test_file_makes_no_markup_of_data(name: str) -> None:
    """No script writes markup, and no file names another host or holds what the policy forbids."""
    text = files("nexus_core.server.page").joinpath(name).read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\son\w+=\"|style=\"", text
    )
    assert set(re.findall(r"https?://[^\"' >]+", text)) <= {"http://www.w3.org/2000/svg"}

"""The site: it builds without a warning, loads nothing from other hosts, and has a place for every public name."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from generated_pages import key_tables

import nexus_core
from nexus_core.cli.main import cli
from nexus_core.config.keys import keys_of
from nexus_core.config.yaml.problems import CODES
from nexus_core.contract import answers, errors, events
from nexus_core.contract.components import Kind, options_of
from nexus_core.engine.plugins import PluginRegistry

pytestmark = pytest.mark.skipif(find_spec("material") is None, reason="needs the extra `docs`: make docs")
ROOT = Path(__file__).parent.parent.parent
_ELSEWHERE = re.compile(r"(?:\w+:)?//")
_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
LOADS = frozenset({"src", "srcset", "data", "poster"})
"""Attributes whose address a browser asks for by itself; the `href` of a `link` is one, too."""
THEME = frozenset({"https://unpkg.com/resize-observer-polyfill", "https://unpkg.com/mermaid", "https://api.github.com"})
"""What the theme's script can load, and does not: for old browsers, for diagrams, for a link to a repository."""


class HtmlPage(HTMLParser):
    """What a page loads, what it links to, and what in it can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses of a tag."""
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in LOADS or (tag == "link" and name == "href"):
                self.loads.append(value or "")
            elif name == "href":
                self.links.append(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, HtmlPage]:
    """Its pages, read."""
    return {path: HtmlPage(path.read_text("utf-8")) for path in site.rglob("*.html")}


def sections(page: Path) -> dict[str, str]:
    """Return the text of a page by its second headings, both without tags."""
    parts = re.split(r"<h2[^>]*>", page.read_text("utf-8"))[1:]
    plain = [html.unescape(re.sub(r"<[^>]+>", "", part)) for part in parts]
    heads = [
        html.unescape(re.sub(r"<a class=\"headerlink.*|<[^>]+>", "", part.partition("</h2>")[0])) for part in parts
    ]
    return dict(zip(heads, plain, strict=True))


def flat(text: str) -> str:
    """Return the words of a text."""
    return re.sub(r"\W+", " ", text)


def test_the_site_loads_nothing_from_other_hosts(site: Path, pages: dict[Path, HtmlPage]) -> None:
    """No script, style, picture, font or frame: it opens from disk on a machine without a network."""
    asked = {(path.name, address) for path, page in pages.items() for address in page.loads}
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        asked |= {(path.name, one or other) for one, other in _STYLE.findall(path.read_text("utf-8"))}
    assert len(asked) > 50
    assert sorted(pair for pair in asked if _ELSEWHERE.match(pair[1])) == []


def test_no_page_makes_the_theme_load_what_it_could(site: Path, pages: dict[Path, HtmlPage]) -> None:
    """The theme's script knows of three other hosts; what would make it ask one of them is on no page."""
    script = next(site.glob("assets/javascripts/bundle.*.js")).read_text("utf-8")
    known = set(re.findall(r"https://(?:unpkg\.com/[\w-]+|api\.[\w.]+)", script))
    assert known <= THEME | {"https://gitlab.com"}
    texts = [path.read_text("utf-8") for path in pages]
    assert not any('class="mermaid"' in text or 'data-md-component="source"' in text for text in texts)


def test_every_link_and_anchor_of_the_site_leads_somewhere(site: Path, pages: dict[Path, HtmlPage]) -> None:
    """From page to page, and to the place in it."""
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of a server's root
            continue
        for link in page.links:
            address, _, anchor = link.partition("#")
            if _ELSEWHERE.match(link) or link.startswith("mailto:"):
                continue
            target = (path.parent / address).resolve() if address else path
            if target not in pages or (anchor and anchor not in pages[target].ids):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_every_public_name_has_a_place(site: Path) -> None:
    """With what it does; errors and events on pages of their own, too."""
    there = sections(site / "reference/api.html")
    assert sorted(there) == nexus_core.__all__
    failures = {c.__name__ for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)}
    assert set(sections(site / "reference/errors.html")) == failures
    told = {
        c.__name__
        for c in {**vars(answers), **vars(events)}.values()
        if isinstance(c, type) and issubclass(c, answers.Event)
    }
    assert set(sections(site / "reference/events.html")) == told


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_every_option_of_every_component_has_a_place(site: Path, kind: Kind) -> None:
    """Under the component, with its meaning."""
    there = sections(site / f"reference/{kind.value}.html")
    offered = PluginRegistry.installed().all_components()[kind]
    assert set(there) == set(offered)
    for name, cls in offered.items():
        for option in options_of(cls):
            assert f" {option.name} " in flat(there[name]), (name, option.name)
            assert flat(option.help) in flat(there[name]), (name, option.name)


def test_every_key_and_problem_code_has_a_place(site: Path) -> None:
    """On the page of the pipeline language, with its meaning."""
    page = html.unescape(re.sub(r"<[^>]+>", " ", (site / "reference/pipelines.html").read_text("utf-8")))
    words = flat(page)
    meanings = [spec.help for cls in key_tables().values() for spec in keys_of(cls)] + list(CODES.values())
    assert [text for text in meanings if flat(text).strip() not in words] == []
    assert [code for code in CODES if f" {code} " not in words] == []


def test_every_address_of_the_query_service_has_a_place(site: Path) -> None:
    """Those of the table that people read, which another test compares with a running server."""
    page = (ROOT / "docs" / "reference" / "server.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`(?:[A-Z]+ )?/?[^`]*`(?:, )?)+) \|", page.partition("## Addresses")[2], re.MULTILINE)
    named = [
        (method, path)
        for row in rows
        for path in re.findall(r"(/[^`\s]*)`", row)
        for method in re.findall(r"[A-Z]{3,}", row)
    ]
    there = sections(site / "reference/http.html")
    assert len(named) > 20
    assert [f"{method} {path}" for method, path in named if f"{method} {path}" not in there] == []


def commands(group: click.Group = cli, path: str = "nexus") -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its path, those of groups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def test_every_command_and_option_has_a_place(site: Path) -> None:
    """With its help."""
    there = sections(site / "reference/commands.html")
    assert set(there) == {path for path, _ in commands()}
    for path, command in commands():
        options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
        assert [name for name in options if name not in there[path]] == [], path


def test_the_search_has_the_words_of_the_pages(site: Path) -> None:
    """It is a script beside the pages, so that it works from disk; so is what runs it there."""
    index = (site / "search/search_index.js").read_text("utf-8")
    assert all(word in index for word in ("breaker", "near_duplicates", "nexus context add"))
    assert (site / "javascripts/iframe-worker.js").exists()

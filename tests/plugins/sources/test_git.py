"""The source `git`: real repositories, read at a revision without a checkout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Documents, RunContext, Secret, SourceError
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry

pytestmark = pytest.mark.slow

GIT: Any = PluginRegistry.installed().component(Kind.SOURCE, "git")


def texts(source: Any) -> dict[str, str]:
    """Return the text of each document that can be read, by its name."""
    return {
        mark.name: "".join(item.text for item in source.read(mark).items)
        for mark in source.documents()
        if not (mark.left_out or mark.problem)
    }


def test_files_of_a_branch_a_tag_and_a_commit_are_read(tmp_path: Path, commit: Any) -> None:
    """Whatever is checked out, and whatever has been changed since without a commit."""
    first = commit(docs__a_md="28 days", notes_txt="old")
    commit.git("tag", "v1")
    commit(docs__a_md="30 days")
    (tmp_path / "work" / "docs" / "a.md").write_text("not committed")
    work = str(tmp_path / "work")
    assert texts(GIT(url=work)) == {"docs/a.md": "30 days", "notes.txt": "old"}
    assert texts(GIT(url=work, revision="v1"))["docs/a.md"] == "28 days"
    assert texts(GIT(url=work, revision=first[:10]))["docs/a.md"] == "28 days"
    assert texts(GIT(url=work, revision="main~1", paths="docs/**/*.md", prefix="p/")) == {"p/docs/a.md": "28 days"}


def test_a_repository_elsewhere_is_fetched_into_the_cache_folder(tmp_path: Path, commit: Any) -> None:
    """A later look fetches what has changed; large files are not fetched at all."""
    commit(a_md="one", large_txt="x" * 9_000)
    options = {"url": f"file://{tmp_path / 'work'}", "cache": str(tmp_path / "cache"), "max_bytes": 5_000}
    assert texts(GIT(**options)) == {"a.md": "one"}
    commit(a_md="two")
    source = GIT(**options)
    assert texts(source) == {"a.md": "two"}
    (large,) = [mark for mark in source.documents() if mark.left_out]
    assert large.name == "large.txt"
    assert "5,000 that are taken" in large.left_out


def test_the_stamp_is_that_of_the_content(tmp_path: Path, commit: Any) -> None:
    """So that another commit without a change to a file reads nothing of it."""
    commit(a_md="one", b_md="same")
    before = {mark.name: mark.stamp for mark in GIT(url=str(tmp_path / "work")).documents()}
    commit(a_md="two")
    after = {mark.name: mark.stamp for mark in GIT(url=str(tmp_path / "work")).documents()}
    assert (before["a.md"] == after["a.md"], before["b.md"] == after["b.md"]) == (False, True)


def test_submodules_links_and_pointers_are_told(tmp_path: Path, commit: Any) -> None:
    """What is not in the repository is left out with the reason, and a link is not followed."""
    first = commit(lfs_bin="version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    os.symlink("/etc/passwd", tmp_path / "work" / "link.txt")
    commit.git("update-index", "--add", "--cacheinfo", f"160000,{first},module")
    commit()
    commit.git("update-index", "--add", "--cacheinfo", f"160000,{first},module")
    commit.git("commit", "--quiet", "--message", "a submodule")
    source = GIT(url=str(tmp_path / "work"))
    marks = {mark.name: mark for mark in source.documents()}
    assert "submodule" in marks["module"].left_out
    assert marks["link.txt"].left_out == "is a link to another file"
    assert "Git LFS" in source.read(marks["lfs.bin"]).left_out


@pytest.mark.parametrize("revision", ["--upload-pack=touch x", "-x", "a..b", "a:b", "+main", "", "a b", "x\n", "a*"])
def test_what_is_no_revision_is_refused(revision: str) -> None:
    """Before any program is started: it might be taken for an option, a range or a rule of what is fetched."""
    with pytest.raises(ValueError, match="is no revision"):
        GIT(url="https://example.com/a.git", revision=revision)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ext::sh -c id", "protocol"),
        ("http://example.com/a.git", "protocol"),
        ("git://example.com/a.git", "protocol"),
        ("--upload-pack=id", "not an option"),
        ("ssh://-oProxyCommand=id/a", "begins with a dash"),
        ("https://me:secret@example.com/a.git", "holds a password"),
        ("https://token@example.com/a.git", "holds a password"),
    ],
    ids=["ext", "http", "git", "option", "ssh-option", "password", "token"],
)
def test_addresses_that_would_do_something_else_are_refused(url: str, reason: str) -> None:
    """Only protocols of the list, and no secret that would be seen on a command line; nor is it shown."""
    with pytest.raises(ValueError, match=reason) as caught:
        GIT(url=url)
    assert "secret" not in str(caught.value)


def test_settings_of_a_hostile_repository_run_nothing(tmp_path: Path, commit: Any) -> None:
    """Its hooks, monitors and transports stay where they are."""
    commit(a_md="one")
    trap = tmp_path / "trap"
    for setting in ("core.fsmonitor", "core.sshCommand", "core.pager", "uploadpack.packObjectsHook"):
        commit.git("config", setting, f"touch {trap}")
    commit.git("config", "remote.origin.url", f"ext::touch {trap}")
    commit.git("config", "remote.origin.promisor", "true")
    assert texts(GIT(url=str(tmp_path / "work"))) == {"a.md": "one"}
    assert texts(GIT(url=f"file://{tmp_path / 'work'}", cache=str(tmp_path / "cache"))) == {"a.md": "one"}
    assert not trap.exists()


@pytest.mark.parametrize("revision", ["nowhere", "deadbeef"])
def test_a_revision_that_is_not_there_is_an_error_with_its_name(tmp_path: Path, commit: Any, revision: str) -> None:
    """And so is a repository that is not there."""
    commit(a_md="one")
    with pytest.raises(SourceError, match=revision):
        list(GIT(url=str(tmp_path / "work"), revision=revision).documents())
    elsewhere = {"url": f"file://{tmp_path / 'work'}", "cache": str(tmp_path / "cache")}
    with pytest.raises(SourceError, match="cannot be fetched"):
        list(GIT(**elsewhere, revision=revision).documents())
    with pytest.raises(SourceError, match="there is no folder"):
        list(GIT(url=str(tmp_path / "nowhere")).documents())


async def test_a_pipeline_gathers_what_has_changed_and_keeps_the_rest(tmp_path: Path, commit: Any) -> None:
    """The same tuple while nothing changes; the item of an unchanged file is the same object afterwards."""
    commit(a_md="one", b_md="two")
    source = GIT(url=str(tmp_path / "work"), refresh_s=0)
    before = await source.gather("", RunContext())
    assert await source.gather("", RunContext()) is before
    commit(a_md="three", c_md="new")
    after = await source.gather("", RunContext())
    assert [item.text for item in after] == ["three", "two", "new"]
    assert after[1] is before[1]


def test_an_address_stands_for_repository_revision_and_paths() -> None:
    """As pip writes it; what is read is made of it without a word more."""
    options = GIT.address_options("git+ssh://git@example.com/team/book.git@feature/x#docs/**")
    assert options == {
        "url": "ssh://git@example.com/team/book.git", "prefix": "book/", "revision": "feature/x", "paths": "docs/**",
    }  # fmt: skip
    source = GIT(**options)
    assert (source.origin, source.within) == ("git+ssh://git@example.com/team/book.git", "book/")
    assert isinstance(source, Documents)


def test_a_token_is_sent_in_a_header_and_shown_nowhere() -> None:
    """Not on the command line, which others on the machine can read."""
    from nexus_sources.remote.git_program import _header

    made = _header(Secret("hunter2"))
    assert made["GIT_CONFIG_KEY_0"] == "http.extraHeader"
    assert "hunter2" not in repr(made)
    assert "hunter2" not in repr(GIT(url="https://example.com/a.git", token=Secret("hunter2")))

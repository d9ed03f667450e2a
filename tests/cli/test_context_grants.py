"""Grants from the shell: contexts, what is added, documents that say it themselves, and keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Store, Viewer
from nexus_core.cli.main import main
from nexus_core.store.access.api_keys import ApiKeys

Nexus = Callable[..., str]
HR = Viewer(groups=frozenset({"group:hr"}))


@pytest.fixture
def nexus(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Nexus:
    """Return what runs a command over a store of its own, and returns what it printed."""
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))

    def run(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        shown = capsys.readouterr()
        assert int(ended.value.code or 0) == code, shown
        return shown.out + shown.err

    return run


def seen(folder: Path, viewer: Viewer | None, name: str = "c") -> set[str]:
    """Return the names of the documents whose items a viewer sees."""

    async def look() -> set[str]:
        async with Store(folder / "store") as store:
            return {item.source.rpartition("/")[2] for _, item in await store.items(name, viewer=viewer)}

    return asyncio.run(look())


def test_what_is_added_is_granted_and_stays_so(tmp_path: Path, nexus: Nexus) -> None:
    """`--readers` marks it and nothing else; the next `add` and `sync` keep it, also for what is new."""
    for name in ("hr", "all"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.md").write_text(f"# {name}\n\nText of {name}.")
    nexus("context", "add", "c", str(tmp_path / "hr"), "--readers", "group:hr", "-q")
    nexus("context", "add", "c", str(tmp_path / "all"), "-q")
    (tmp_path / "hr" / "new.md").write_text("# New\n\nNew text.")
    nexus("context", "sync", "c")
    (tmp_path / "hr" / "newer.md").write_text("# Newer\n\nNewer text.")
    nexus("context", "add", "c", str(tmp_path / "hr"), "-q")
    assert seen(tmp_path, Viewer()) == {"all.md"}
    assert seen(tmp_path, HR) == seen(tmp_path, None) == {"all.md", "hr.md", "new.md", "newer.md"}
    assert "hr/hr.md" in nexus("context", "show", "c")
    assert "for group:hr" in nexus("context", "show", "c")


@pytest.mark.parametrize(
    ("file", "text", "hr"),
    [
        ("a.md", "---\nreaders: [group:hr]\n---\n# A\n\nText.", True),
        ("a.md", "---\nreaders: group:hr, group:it\n---\n# A\n\nText.", True),
        ("a.md", "---\nreaders: hr\n---\n# A\n\nText.", False),
        ("a.md", "---\nreaders: {group:hr: yes}\n---\n# A\n\nText.", False),
        ("a.md", "---\nreaders: [group:hr\n---\n# A\n\nText.", False),
        ("a.md", f"---\nabout: {'x' * 2000}\nreaders: []\n---\n# A\n\nText.", False),
        ("a.html", '<html><head><meta name="readers" content="group:hr"></head><body><p>Text.</p></body></html>', True),
        ("a.html", '<html><head><meta name="readers"></head><body><p>Text.</p></body></html>', False),
        ("a.jsonl", '{"id": "a", "text": "Text.", "readers": ["group:hr"]}', True),
        ("a.jsonl", '{"id": "a", "text": "Text.", "readers": 5}', False),
        ("a.jsonl", '{"id": "a", "text": "Text.", "readers": []}', False),
        ("a.ipynb", json.dumps({"metadata": {"readers": ["group:hr"]}, "nbformat": 4, "nbformat_minor": 5, "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": "# A\n\nText."}]}), True),
    ],
)  # fmt: skip
def test_a_document_says_who_may_see_it(tmp_path: Path, file: str, text: str, hr: bool, nexus: Nexus) -> None:
    """A mistake is told and hides it from everybody but this shell."""
    (tmp_path / file).write_text(text)
    code = 1 if file == "a.jsonl" and not hr else 0
    assert ("nobody is shown it" in nexus("context", "add", "c", str(tmp_path / file), code=code)) != hr
    assert (seen(tmp_path, Viewer()), bool(seen(tmp_path, HR)), bool(seen(tmp_path, None))) == (set(), hr, True)


def test_a_context_is_granted_and_given_back(tmp_path: Path, nexus: Nexus) -> None:
    """In the place of who could see it before; `show` tells it."""
    (tmp_path / "a.md").write_text("# A\n\nText.")
    nexus("context", "add", "c", str(tmp_path / "a.md"), "-q")
    nexus("context", "grant", "c", "group:hr")
    assert json.loads(nexus("context", "show", "c", "--json"))["readers"] == ["group:hr"]
    nexus("context", "grant", "c", "--everybody")
    assert json.loads(nexus("context", "show", "c", "--json"))["readers"] == []
    nexus("context", "grant", "c", "hr", code=2)
    nexus("context", "grant", "c", code=2)


def test_what_a_key_sees_is_changed_later(nexus: Nexus) -> None:
    """What is named takes the place of what was, and the rest stays; one may also be bound to nothing again."""
    nexus("keys", "new", "--owner", "ann", "--group", "group:hr", "--context", "c")

    def told() -> dict[str, Any]:
        (found,) = json.loads(nexus("keys", "list", "--json"))
        return {name: found[name] for name in ("groups", "contexts", "tags")}

    id = json.loads(nexus("keys", "list", "--json"))[0]["id"]
    assert "access to: group:it, context c, tag public" in nexus(
        "keys", "change", id, "--group", "group:it", "--tag", "public"
    )
    assert told() == {"groups": ["group:it"], "contexts": ["c"], "tags": ["public"]}
    nexus("keys", "change", id, "--no-group", "--any-context", "--any-tag")
    assert told() == {"groups": [], "contexts": None, "tags": None}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ((), "there is nothing to change"),
        (("--group", "hr"), "names no group"),
        (("--group", "group:hr", "--no-group"), "contradict each other"),
        (("--group", "group:nobody"), "nobody's group"),
    ],
    ids=["nothing", "no group", "both", "nobody"],
)
def test_a_change_of_a_key_that_says_nothing_is_refused(nexus: Nexus, wrong: tuple[str, ...], said: str) -> None:
    """With what to do, and the key stays as it was; so do one that is not there and one that is revoked."""
    nexus("keys", "new", "--owner", "ann", "--group", "group:it")
    (key,) = json.loads(nexus("keys", "list", "--json"))
    assert said in nexus("keys", "change", key["id"], *wrong, code=2)
    assert "there is no key" in nexus("keys", "change", "abcdefgh", "--no-group", code=2)
    assert json.loads(nexus("keys", "list", "--json"))[0]["groups"] == ["group:it"]
    nexus("keys", "revoke", key["id"])
    assert "is revoked" in nexus("keys", "change", key["id"], "--no-group", code=2)


def test_a_key_that_may_do_all_is_bound_to_nothing_later(nexus: Nexus) -> None:
    """As when it is made."""
    nexus("keys", "new", "--owner", "ann", "--scope", "admin")
    (key,) = json.loads(nexus("keys", "list", "--json"))
    assert "bound to nothing" in nexus("keys", "change", key["id"], "--context", "c", code=2)


def test_a_key_is_told_with_what_it_sees(tmp_path: Path, nexus: Nexus) -> None:
    """Groups, contexts and tags are kept; who may change all is bound to nothing, and nobody is in nobody's group."""
    new = ("keys", "new", "--owner", "ann")
    nexus(*new, "--group", "group:hr", "--context", "c", "--context", "d", "--tag", "public")
    nexus(*new, "--scope", "admin")
    told = json.loads(nexus("keys", "list", "--json"))
    assert [(each["groups"], each["contexts"], each["tags"]) for each in told] == [
        (["group:hr"], ["c", "d"], ["public"]), ([], None, None),
    ]  # fmt: skip
    assert "group:hr, context c, context d, tag public" in " ".join(nexus("keys", "list").split())
    for wrong in (("--scope", "admin", "--context", "c"), ("--group", "hr"), ("--group", "group:nobody")):
        nexus(*new, *wrong, code=2)

    async def viewers() -> list[Viewer | None]:
        async with Store(tmp_path / "store") as store:
            return [key.viewer for key in await ApiKeys(store).everything()]

    bound = Viewer(groups=frozenset({"group:hr"}), contexts=frozenset({"c", "d"}), tags=frozenset({"public"}))
    assert asyncio.run(viewers()) == [bound, None]

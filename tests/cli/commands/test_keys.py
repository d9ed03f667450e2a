"""Keys from the command line: made, listed, revoked."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core.cli.main import main
from nexus_core.store.database.migrations import MIGRATIONS
from nexus_core.store.database.schema import APPLICATION_ID

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command with a store of its own; return exit code, stdout and stderr."""
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_a_key_is_shown_once_and_kept_as_a_hash(nexus: Nexus, tmp_path: Path) -> None:
    """Only the key itself is on stdout; its secret is in no file of the store (fault 200)."""
    code, out, err = nexus("keys", "new", "--owner", "ann", "--expires", "90d", "--requests-per-minute", "60")
    key = out.strip()
    assert code == 0
    assert len(key) == 56
    assert key[4:12] in err
    files = [file for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if key[13:].encode() in file.read_bytes()]
    assert key[13:] not in nexus("keys", "list")[1]
    assert key[13:] not in nexus("keys", "list", "--json")[1]


def test_a_context_that_is_not_there_is_warned_of(nexus: Nexus, tmp_path: Path) -> None:
    """On stderr, with what may be meant: it may be made later, and the key is made all the same."""
    (tmp_path / "leave.md").write_text("# Leave\n\nEverybody has 28 days.\n")
    nexus("context", "add", "handbook", str(tmp_path / "leave.md"))
    code, out, err = nexus("keys", "new", "--owner", "ann", "--context", "handbok", "--context", "handbook")
    assert (code, len(out.strip())) == (0, 56)
    assert "warning: there is no context 'handbok' in the store, did you mean 'handbook'?" in err
    assert "'handbook' in" not in err
    id = out[4:12]
    code, _, err = nexus("keys", "change", id, "--context", "payroll")
    assert (code, "warning: there is no context 'payroll'" in err) == (0, True)
    assert "warning" not in nexus("keys", "change", id, "--context", "handbook")[2]
    assert "warning" not in nexus("keys", "change", id, "--any-context")[2]


def test_keys_are_listed_with_what_they_may_do(nexus: Nexus) -> None:
    """And whether they hold; as JSON too."""
    assert "no key yet" in nexus("keys", "list")[1]
    nexus("keys", "new", "--owner", "ann", "--scope", "query", "--tokens-per-minute", "1000")
    out = nexus("keys", "list")[1]
    assert "ann" in out
    assert "1,000 tokens/min" in out
    (told,) = json.loads(nexus("keys", "list", "--json")[1])
    assert (told["owner"], told["scopes"], told["tokens_per_minute"], told["revoked"]) == ("ann", ["query"], 1000, None)
    assert "digest" not in told


def test_a_revoked_key_stays_in_the_list(nexus: Nexus) -> None:
    """It says since when; revoking it again changes nothing."""
    id = nexus("keys", "new", "--owner", "ann")[1][4:12]
    assert nexus("keys", "revoke", id)[:2] == (0, f"revoked {id}\n")
    first = json.loads(nexus("keys", "list", "--json")[1])[0]["revoked"]
    nexus("keys", "revoke", id)
    assert json.loads(nexus("keys", "list", "--json")[1])[0]["revoked"] == first
    assert "revoked" in nexus("keys", "list")[1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(["new"], "--owner", id="no-owner"),
        pytest.param(["new", "--owner", "a", "--scope", "root"], "root", id="scope"),
        pytest.param(["new", "--owner", "a", "--expires", "soon"], "90d, 12h or 30m", id="expires"),
        pytest.param(["new", "--owner", ""], "owner of a key", id="empty-owner"),
        pytest.param(["revoke", "abcdefgh"], "no key 'abcdefgh'", id="unknown"),
    ],
)
def test_what_is_wrong_is_said(nexus: Nexus, arguments: list[str], reason: str) -> None:
    """With exit code 2."""
    code, out, err = nexus("keys", *arguments)
    assert (code, out) == (2, "")
    assert reason in err


def test_a_store_of_the_version_before_gets_its_table(nexus: Nexus, tmp_path: Path) -> None:
    """What was in it stays (fault 164)."""
    nexus("keys", "new", "--owner", "bob")
    database = next((tmp_path / "store").glob("*.db"))
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    with sqlite3.connect(database, isolation_level=None) as connection:
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert nexus("keys", "new", "--owner", "ann")[0] == 0


def test_a_rotated_key_ends_after_a_while(nexus: Nexus) -> None:
    """The new one may do the same; only its text is on stdout, and the end of the old one is told."""
    key = nexus("keys", "new", "--owner", "ann", "--group", "group:hr", "--requests-per-minute", "60")[1].strip()
    code, out, err = nexus("keys", "rotate", key[4:12], "--overlap", "7d")
    assert (code, out.startswith("cnx_"), "is valid until" in err, out.strip() in err) == (0, True, True, False)
    old, new = json.loads(nexus("keys", "list", "--json")[1])
    assert (new["owner"], new["groups"], new["requests_per_minute"], new["expires"]) == ("ann", ["group:hr"], 60, None)
    assert old["expires"] == pytest.approx(new["created"] + 7 * 86_400)
    assert nexus("keys", "rotate", key[4:12], "--overlap", "0s")[0] == 0
    code, _, err = nexus("keys", "rotate", key[4:12])
    assert (code, "holds no more" in err) == (2, True)


def test_a_key_for_an_administrator_is_made(nexus: Nexus) -> None:
    """`--admin` is the scope; bound to a part of the store it cannot be."""
    nexus("keys", "new", "--owner", "root", "--admin")
    assert json.loads(nexus("keys", "list", "--json")[1])[0]["scopes"] == ["query", "read", "admin"]
    assert nexus("keys", "new", "--owner", "root", "--admin", "--context", "handbook")[0] == 2

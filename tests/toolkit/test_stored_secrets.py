"""Stored keys: where they go, who may read them, and that a file that cannot be trusted is an error."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.errors
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail

from nexus_core import NotConfiguredError, Secret
from nexus_core.toolkit import ServiceAddress
from nexus_core.toolkit.stored_secrets import remove_secret, store_secret, stored_names, stored_secret

ADDRESS = ServiceAddress(
    provider="acme", url="https://api.acme.example/v1", url_variable="ACME_URL", key_variables=("ACME_KEY", "ACME_OLD")
)
OFFICIAL = ADDRESS.url
OTHER = "https://Models.Example:8443/v1"


class KeyringOfTest(KeyringBackend):
    """A keyring in memory, as good as one of the system."""

    priority = 5
    name = "keyring of the test"

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked("locked, and holds sk-hush")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked("locked, and was given sk-hush")
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Store keys in a folder of the test."""
    path = tmp_path / "config" / "secrets.json"
    monkeypatch.setenv("NEXUS_SECRETS", str(path))
    before = keyring.get_keyring()
    # Else it would be that of the test, which counts as installed.
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]
    yield path
    keyring.set_keyring(before)


@pytest.fixture
def system(file: Path) -> Iterator[KeyringOfTest]:
    """Have a keyring for as long as a test runs."""
    before, now = keyring.get_keyring(), KeyringOfTest()
    keyring.set_keyring(now)
    yield now
    keyring.set_keyring(before)


def test_without_a_keyring_keys_are_in_a_file_of_the_owner_alone(file: Path) -> None:
    """Its folder, too; a key that is stored again replaces the one before."""
    assert stored_secret("acme") == ""
    store_secret("acme", "sk-first")
    assert store_secret("acme", "sk-second") == "file"
    store_secret("models.example:8443", "sk-other")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent)] == [0o600, 0o700]
    assert (stored_secret("acme"), stored_names()) == ("sk-second", {"acme": "file", "models.example:8443": "file"})
    assert [remove_secret("acme"), remove_secret("acme"), stored_secret("acme")] == [True, False, ""]


def test_a_keyring_has_the_keys_and_the_file_their_names(file: Path, system: KeyringOfTest) -> None:
    """Moved into the file by `in_file`, a key is not left in the keyring; one that is gone there is told."""
    assert store_secret("acme", "sk-hush") == "keyring"
    assert "sk-hush" not in file.read_text()
    assert (stored_secret("acme"), stored_names()) == ("sk-hush", {"acme": "keyring"})
    assert store_secret("acme", "sk-hush", in_file=True) == "file"
    assert (system.kept, stored_secret("acme")) == ({}, "sk-hush")
    store_secret("acme", "sk-hush")
    system.kept.clear()
    with pytest.raises(NotConfiguredError, match="run nexus secrets set acme"):
        stored_secret("acme")
    assert (remove_secret("acme"), stored_names()) == (True, {})


def test_a_keyring_that_is_locked_is_told_without_its_words(system: KeyringOfTest) -> None:
    """What a backend says may be anything; and the names that are stored stay as they are."""
    store_secret("acme", "sk-hush")
    system.locked = True
    for do in (lambda: stored_secret("acme"), lambda: store_secret("other", "sk-hush"), lambda: remove_secret("acme")):
        with pytest.raises(NotConfiguredError, match=r"KeyringLocked.*--file") as caught:
            do()
        assert "hush" not in str(caught.value)
    assert stored_names() == {"acme": "keyring"}


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b'{"acme": "sk-hush"}', 0o644, "chmod 600"),
        (b'{"acme": "sk-hush"}', 0o620, "chmod 600"),
        (b'{"acme": "sk-hush"', 0o600, "damaged"),
        (b'{"acme": ["sk-hush"]}', 0o600, "damaged"),
        (b'"sk-hush"', 0o600, "damaged"),
        (b"\xff\xfesk-hush", 0o600, "damaged"),
        (b"[" * 100_000, 0o600, "damaged"),
        (b" " * 2**20 + b"{}", 0o600, "damaged"),
        (None, 0o700, "no file|directory"),
    ],
    ids=["readable", "writable", "cut", "list", "text", "bytes", "deep", "large", "folder"],
)
def test_a_file_that_cannot_be_trusted_is_an_error_and_stays_as_it_is(
    content: bytes | None, mode: int, said: str, file: Path
) -> None:
    """For who reads and who writes: what it holds is never shown, and never written over."""
    file.parent.mkdir()
    file.mkdir() if content is None else file.write_bytes(content)
    file.chmod(mode)
    for do in (lambda: stored_secret("acme"), lambda: store_secret("acme", "sk-new"), lambda: remove_secret("acme")):
        with pytest.raises(NotConfiguredError, match=said) as caught:
            do()
        assert "hush" not in str(caught.value)
        assert caught.value.request_sent is False
    assert content is None or file.read_bytes() == content


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_written_is_told(file: Path) -> None:
    """With the reason of the system."""
    file.parent.mkdir(mode=0o500)
    with pytest.raises(NotConfiguredError, match="cannot be written: Permission denied"):
        store_secret("acme", "sk-hush")


@pytest.mark.parametrize("key", ["", " ", "two\nlines", "sk-é", " sk", "sk ", "\x1b[0m", "k" * 16_385])
def test_what_no_header_takes_is_no_key(key: str) -> None:
    """It is refused without being shown."""
    with pytest.raises(ValueError, match="cannot be a key") as caught:
        store_secret("acme", key)
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize("name", ["", "Acme", "a/b", "../x", "a b", "é", "x" * 254])
def test_a_name_is_that_of_a_connector_or_a_host(name: str) -> None:
    """Whatever else is refused."""
    with pytest.raises(ValueError, match="no name of a service"):
        store_secret(name, "sk-hush")


def test_keys_that_are_stored_at_once_are_all_there() -> None:
    """One waits for the other: none is lost."""
    threads = [threading.Thread(target=store_secret, args=(f"host{n}.example", f"sk-{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: stored_secret(name) for name in stored_names()} == {f"host{n}.example": f"sk-{n}" for n in range(8)}


@pytest.mark.parametrize(
    ("option", "base_url", "environ", "key"),
    [
        ("own", OFFICIAL, {"ACME_KEY": "env"}, "own"),
        (" ", OFFICIAL, {"ACME_KEY": "env"}, "env"),
        (None, OFFICIAL, {"ACME_OLD": "old"}, "old"),
        (None, OFFICIAL, {"ACME_KEY": " "}, "stored"),
        (None, "https://eu.api.acme.example", {}, "stored"),
        (None, "https://evil.example/v1", {}, ""),
        (None, "http://127.0.0.1:1234", {"ACME_URL": "http://127.0.0.1:1234"}, ""),
        (None, "http://127.0.0.1:1234", {"ACME_URL": "http://127.0.0.1:1234", "ACME_KEY": "env"}, "env"),
        (None, OTHER, {"ACME_KEY": "env"}, "of the host"),
        ("own", OTHER, {}, "own"),
    ],
    ids=["option", "environment", "older-variable", "stored", "region", "other-host", "variable-url",
         "variable-url-and-key", "host", "option-for-host"],
)  # fmt: skip
def test_the_option_comes_before_the_environment_and_that_before_what_is_stored(
    option: str | None, base_url: str, environ: dict[str, str], key: str
) -> None:
    """A stored key goes to the service's own address, or to the host it is stored for, and nowhere else."""
    store_secret("acme", "stored")
    store_secret("models.example:8443", "of the host")
    assert ADDRESS.resolve_key(None if option is None else Secret(option), base_url, environ) == key

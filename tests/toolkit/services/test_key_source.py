"""Keys that expire: fetched once for all who wait, before their end, and again where the service refuses one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core import NotConfiguredError
from nexus_core.toolkit import KeyAuthorizer, KeySource, split_command

COUNTING = 'echo >> {count}; echo "key-$(wc -l < {count} | tr -d " ")"'
LASTING = 'echo >> {count}; echo "{{\\"token\\": \\"key-$(wc -l < {count} | tr -d " ")\\", \\"expires_at\\": 1600}}"'


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def source(tmp_path: Path, script: str, clock: Clock | None = None) -> KeySource:
    """Return the source of the key that a script of the shell prints."""
    clock = clock or Clock()
    command = ("sh", "-c", script.format(count=tmp_path / "count"))
    return KeySource(command=command, clock=clock, now=clock)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    while not holds():  # noqa: ASYNC110 - another process brings it about
        await asyncio.sleep(0.01)


async def failure(keys: KeySource) -> str:
    """Return what the error says."""
    with pytest.raises(NotConfiguredError) as caught:
        await keys.key()
    assert caught.value.request_sent is False
    return str(caught.value)


async def test_many_requests_wait_for_one_run(tmp_path: Path) -> None:
    """And those that come later have the same key."""
    keys = source(tmp_path, COUNTING)
    assert await asyncio.gather(*(keys.key() for _ in range(20))) == ["key-1"] * 20
    assert await keys.key() == "key-1"


async def test_key_is_fetched_again_before_it_expires(tmp_path: Path) -> None:
    """A minute before its end: here at 1540 of 1600."""
    clock = Clock()
    keys = source(tmp_path, LASTING, clock)
    assert await keys.key() == "key-1"
    clock.time = 1539
    assert await keys.key() == "key-1"
    clock.time = 1541
    assert await keys.key() == "key-2"


async def test_key_serves_until_its_end_where_there_is_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The command fails in the last minute: the key at hand is used, a warning says so, and then the error stands."""
    clock = Clock()
    keys = source(tmp_path, f"test -e {tmp_path}/broken && exit 3; {LASTING}", clock)
    assert await keys.key() == "key-1"
    (tmp_path / "broken").touch()
    clock.time = 1550
    assert await keys.key() == "key-1"
    assert "exit code 3" in caplog.text
    clock.time = 1601
    assert "exit code 3" in await failure(keys)


async def test_refused_key_is_fetched_again(tmp_path: Path) -> None:
    """Once for all requests that were refused with it."""
    keys = source(tmp_path, COUNTING)
    assert await keys.key() == "key-1"
    assert await asyncio.gather(*(keys.renew("key-1") for _ in range(5))) == [True] * 5
    assert await keys.key() == "key-2"


async def test_keys_that_are_refused_one_after_the_other_are_wrong_and_not_expired(tmp_path: Path) -> None:
    """Within a minute nothing is asked again; the next request has another one."""
    clock = Clock()
    keys = source(tmp_path, COUNTING, clock)
    assert await keys.renew(await keys.key()) is True
    assert await keys.renew(await keys.key()) is False
    assert await keys.key() == "key-3"
    clock.time += 61
    assert await keys.renew("key-3") is True


async def test_same_key_again_is_no_other(tmp_path: Path) -> None:
    """A command that keeps what it prints cannot help."""
    keys = source(tmp_path, "echo key")
    await keys.key()
    assert await keys.renew("key") is False


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("echo hush-canary-key; echo 'bad hush-canary-key, log in' >&2; exit 7", "exit code 7: bad [hidden], log in"),
        ("exit 1", "'sh' ended with exit code 1"),
        ("kill -9 $$", "exit code -9"),
        ("true", "gives nothing"),
        ("echo hush-canary and more", "more than a key"),
        ("echo '{{\"hush-canary\": 1}}'", "under api_key, apiKey"),
        ("echo '{{\"hush-canary'", "is none"),
        ('echo \'{{"token": "hush-canary", "expires_at": true}}\'', "'expires_at' that is no time"),
        ('echo \'{{"token": "hush-canary", "expires_at": 999}}\'', "has expired"),
        ("yes hush-canary | head -c 200000", "more than a key"),
    ],
    ids=["complaint", "silent", "killed", "nothing", "words", "other-json", "no-json", "no-time", "expired", "endless"],
)
async def test_error_says_what_is_wrong_and_shows_no_key(tmp_path: Path, script: str, match: str) -> None:
    """The program, its exit code and the first line of its complaint: never what it printed."""
    said = await failure(source(tmp_path, script))
    assert match in said
    assert "canary" not in said


@pytest.mark.parametrize(
    ("command", "match"),
    [(("no-such-program-here", "hush"), "'no-such-program-here': No such file"), (("sh\0", "hush"), "cannot be run")],
    ids=["absent", "null"],
)
async def test_program_that_cannot_be_started_is_named(command: tuple[str, ...], match: str) -> None:
    """Without its arguments."""
    said = await failure(KeySource(command=command))
    assert match in said
    assert "hush" not in said


async def test_error_stands_for_a_moment(tmp_path: Path) -> None:
    """A broken command does not run for each request, and is run again after five seconds."""
    clock = Clock()
    keys = source(tmp_path, "echo >> {count}; exit 1", clock)
    await failure(keys)
    await failure(keys)
    clock.time += 6
    await failure(keys)
    assert (tmp_path / "count").read_text().count("\n") == 2


@pytest.mark.parametrize("end", ["wait", "exit 0"])
async def test_command_that_takes_too_long_is_ended(tmp_path: Path, end: str) -> None:
    """With whatever it started, also where that holds its output and the command itself has ended."""
    keys = KeySource(command=("sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; {end}"), limit_s=0.5)
    assert "took longer than 0.5 s" in await failure(keys)
    child = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    await until(lambda: not child.exists() or child.read_text().split()[2] == "Z")


async def test_command_is_ended_when_nobody_waits(tmp_path: Path) -> None:
    """And the next request begins anew."""
    for number in (1, 2):  # each run waits at one of its own: one that is being killed may still read
        os.mkfifo(tmp_path / f"fifo-{number}")
    keys = source(tmp_path, f'echo >> {{count}}; cat {tmp_path}/fifo-$(wc -l < {{count}} | tr -d " ")')
    waiting = asyncio.ensure_future(keys.key())
    await until((tmp_path / "count").exists)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    again = asyncio.ensure_future(keys.key())
    await until(lambda: (tmp_path / "count").read_text().count("\n") == 2)
    await asyncio.to_thread((tmp_path / "fifo-2").write_text, "key")
    assert await again == "key"


async def test_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """As the key alone or as JSON."""
    file = tmp_path / "key"
    file.write_text("first\n")
    keys = KeySource(file=str(file))
    assert await keys.key() == "first"
    assert await keys.renew("first") is False
    file.write_text('{"access_token": "second"}')
    assert await keys.renew("first") is True
    assert await keys.key() == "second"


async def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """By the path that was given."""
    said = await failure(KeySource(file=str(tmp_path / "absent")))
    assert "api_key_file" in said
    assert "absent" in said


async def test_authorizer_puts_the_key_into_headers(tmp_path: Path) -> None:
    """As the connector carries it; what is refused is the key of that request, and no newer one."""
    authorizer = KeyAuthorizer(source(tmp_path, COUNTING), lambda key: {"api-key": key})
    first = await authorizer.headers("https://llm.example.com/v1", b"")
    assert (first, authorizer.secrets) == ({"api-key": "key-1"}, ("key-1",))
    assert await authorizer.renew({**first, "Accept": "*/*"}) is True
    second = await authorizer.headers("https://llm.example.com/v1", b"")
    assert (second, authorizer.secrets) == ({"api-key": "key-2"}, ("key-2", "key-1"))
    assert await authorizer.renew(first) is True
    assert await authorizer.headers("https://llm.example.com/v1", b"") == second


@pytest.mark.parametrize(
    ("command", "words"),
    [("az account 'get token'", ("az", "account", "get token")), (["a b", "c"], ("a b", "c"))],
    ids=["text", "list"],
)
def test_command_is_split_as_a_shell_would(command: str | list[str], words: tuple[str, ...]) -> None:
    """A list is taken as it is."""
    assert split_command(command) == words


@pytest.mark.parametrize("command", ["", " ", "a 'b", []], ids=["empty", "blank", "quote", "none"])
def test_command_without_words_is_refused(command: str | list[str]) -> None:
    """Before anything is run."""
    with pytest.raises(ValueError, match="a command that"):
        split_command(command)

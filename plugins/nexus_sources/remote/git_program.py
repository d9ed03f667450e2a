"""Asks the program `git`: what is in a revision, and the content of files. Nothing is checked out, no hook is run."""

from __future__ import annotations

import os
import re
import subprocess
import weakref
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import IO, cast

from attrs import define, field, frozen
from filelock import FileLock

from nexus_core import Secret, SourceError

PROTOCOLS = ("https", "ssh", "file")
"""Those that `git` may use, whatever a repository's own settings say."""
_REVISION = re.compile(r"[^\W_][\w./@{}^~+-]*")
_SETTINGS = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.ext.allow=never", "fetch.recurseSubmodules=false",
    "gc.auto=0", "maintenance.auto=false",
)  # fmt: skip
_SHOWN = 300


@frozen
class TreeEntry:
    """A file of a revision."""

    path: str
    mode: str
    """`100644` and the like, `120000` for a link, `160000` for a submodule."""
    id: str
    """Of its content."""


def check_revision(revision: str) -> None:
    """Raise ValueError for what can be no revision, such as an option or a range."""
    if not _REVISION.fullmatch(revision) or ".." in revision or revision.endswith((".lock", "/")):
        raise ValueError(f"{revision[:80]!r} is no revision: give the name of a branch or tag, or the id of a commit")


@define(eq=False, repr=False)
class GitRepository:
    """A repository on this machine: somebody's own, or a cache of what was fetched."""

    folder: str
    timeout_s: float = 600.0

    def commit(self, revision: str) -> str:
        """Return the id of the commit that a revision means; raises SourceError."""
        check_revision(revision)
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        done = run_git(asked, self.folder, timeout_s=self.timeout_s)
        if done.returncode:
            raise SourceError(f"git: there is no revision {revision!r} in the repository{_shown(done.stderr)}")
        return done.stdout.decode("ascii").strip()

    def entries(self, commit: str) -> list[TreeEntry]:
        """Return all files of a commit."""
        done = _checked(("ls-tree", "-r", "-z", "--full-tree", commit), self.folder, self.timeout_s, "cannot be listed")
        found = []
        for line in filter(None, done.split(b"\0")):
            head, _, path = line.partition(b"\t")
            mode, _, id = head.decode("ascii").split(" ")
            found.append(TreeEntry(path.decode("utf-8", "surrogateescape"), mode, id))
        return found

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the sizes in bytes of contents; those that the repository does not hold are missing."""
        asked = "".join(f"{id}\n" for id in ids).encode()
        command = ("cat-file", "--batch-check=%(objectname) %(objectsize)", "--buffer")
        done = _checked(command, self.folder, self.timeout_s, "cannot be read", asked)
        pairs = (line.split(" ") for line in done.decode("ascii", "replace").splitlines())
        return {id: int(size) for id, size in pairs if size.isdecimal()}

    def fetch(self, url: str, revision: str, *, max_bytes: int, token: Secret | None) -> str:
        """Take a revision of a repository elsewhere into this one, without files over a size; return its commit."""
        check_revision(revision)
        folder = Path(self.folder)
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"refs/nexus/{sha256(revision.encode()).hexdigest()[:16]}"
        with FileLock(f"{self.folder}.lock", mode=0o600):
            if not (folder / "config").exists():
                _checked(("init", "--quiet", "--bare", self.folder), None, self.timeout_s, "cannot be kept")
                _checked(("remote", "add", "origin", url), self.folder, self.timeout_s, "cannot be kept")
            command = (
                "fetch", "--quiet", "--depth=1", "--no-tags", "--force", f"--filter=blob:limit={max_bytes + 1}",
                "origin", f"+{revision}:{name}",
            )  # fmt: skip
            done = run_git(command, self.folder, timeout_s=self.timeout_s, more=_header(token))
        if done.returncode:
            raise SourceError(f"git: {revision!r} of {url} cannot be fetched{_shown(done.stderr)}")
        return self.commit(name)


def _header(token: Secret | None) -> dict[str, str]:
    """Return the environment by which git sends a token: on its command line others could read it."""
    if not token:
        return {}
    from_token = f"x-access-token:{token.reveal()}".encode()
    header = f"Authorization: Basic {b64encode(from_token).decode()}"
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader", "GIT_CONFIG_VALUE_0": header}


@define(eq=False, repr=False)
class BlobReader:
    """Reads contents by one process of `git cat-file`, which ends with this object."""

    folder: str
    _process: subprocess.Popen[bytes] | None = None
    _lock: Lock = field(factory=Lock)

    def read(self, id: str) -> bytes:
        """Return a content; raises SourceError where the repository does not hold it."""
        with self._lock:
            process = self._started()
            requests, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
            try:
                requests.write(f"{id}\n".encode())
                requests.flush()
                head = answers.readline().split()
                if len(head) != 3:
                    raise SourceError("is not in the repository on this machine, which may have been fetched in part")
                data = answers.read(int(head[2]) + 1)
            except OSError as error:
                raise SourceError(f"cannot be read (git has ended: {error})") from error
            return data[:-1]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                git_command(("cat-file", "--batch"), self.folder),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(),
            )  # fmt: skip
            weakref.finalize(self, _end, self._process)
        return self._process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def git_command(arguments: Sequence[str], folder: str | None) -> list[str]:
    """Return a command that runs nothing which a repository's settings name."""
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    where = ["-C", folder] if folder else []
    # A content that was not fetched stays away: git would ask for each alone.
    return ["git", *where, *settings, "-c", "remote.origin.promisor=false", *arguments]


def run_git(
    arguments: Sequence[str],
    folder: str | None,
    *,
    timeout_s: float,
    told: bytes = b"",
    more: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Return what git has answered; raises SourceError where there is no git, or where it takes too long."""
    command = git_command(arguments, folder)
    try:
        return subprocess.run(
            command, input=told, capture_output=True, timeout=timeout_s, env=_environment() | (more or {}), check=False
        )
    except FileNotFoundError as error:
        raise SourceError("git: the program `git` is not there: install it") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"git: {arguments[0]} did not end within {timeout_s:g} s") from error
    except OSError as error:
        raise SourceError(f"git: the program `git` cannot be run ({error.strerror or error})") from error


def _checked(arguments: Sequence[str], folder: str | None, timeout_s: float, what: str, told: bytes = b"") -> bytes:
    done = run_git(arguments, folder, timeout_s=timeout_s, told=told)
    if done.returncode:
        raise SourceError(f"git: the repository {what}{_shown(done.stderr)}")
    return done.stdout


def _environment() -> dict[str, str]:
    made = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    made |= {name: os.environ[name] for name in ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_SSL_CAINFO") if name in os.environ}
    made.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")  # else a repository's own settings could name another
    return made | {
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C.UTF-8",
    }


def _shown(said: bytes) -> str:
    """Return what git has said, in brackets, as far as it is short."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    text = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "")
    return f" ({text[:_SHOWN]})" if text else ""

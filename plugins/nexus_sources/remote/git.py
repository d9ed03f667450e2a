"""The source `git`: the files of a repository at a revision, read from its objects; nothing is checked out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit, urlunsplit

from platformdirs import user_cache_path

from nexus_core import DocumentMark, DocumentRead, Secret, SourceError, component, hookimpl, option, state
from nexus_core.toolkit import FileOrigin, counted
from nexus_sources.ingestible import read_bytes
from nexus_sources.remote.documents import RemoteDocuments
from nexus_sources.remote.git_program import PROTOCOLS, BlobReader, GitRepository, TreeEntry, check_revision
from nexus_sources.remote.selection import NameSelection, as_tuple

_POINTER = b"version https://git-lfs.github.com/spec/"
_LONGEST_POINTER = 1024
_SUBMODULE, _LINK = "160000", "120000"


@component
class Git(RemoteDocuments):
    """Reads the files of a git repository, here or elsewhere, as they are in a branch, tag or commit."""

    name: ClassVar[str] = "git"

    url: str = option(help="The repository: a folder, or an address with `https://`, `ssh://` or `file://`.")
    revision: str = option("HEAD", help="The branch, tag or commit.")
    paths: str | tuple[str, ...] = option(
        (), help="Patterns of the files that are read, such as `docs/**/*.md`; all where there is none."
    )
    exclude: str | tuple[str, ...] = option((), help="Patterns of what to leave out; without a slash a name anywhere.")
    prefix: str = option("", help="What stands before the paths in ids and sources, such as `project/`.")
    token: Secret | None = option(None, help="A token for `https://`, where git's own credential helpers have none.")
    cache: str = option("", help="The folder where fetched repositories are kept; by default in your cache folder.")
    fetch_s: float = option(600.0, help="The time that fetching may take, in seconds.", gt=0)
    _blobs: Any = state()

    def _check(self) -> None:
        check_revision(self.revision)
        if self.url.startswith("-") or not self.url.strip():
            raise ValueError("the repository is a folder or an address, not an option")
        parts = urlsplit(self.url)
        if "::" in self.url or ("://" in self.url and parts.scheme not in PROTOCOLS):
            raise ValueError(f"the protocol of {_shown(self.url)!r} is not used: it may be {', '.join(PROTOCOLS)}")
        if "://" in self.url and (parts.password or (parts.scheme == "https" and parts.username)):
            raise ValueError("the address holds a password: set `token`, or let git's credential helper know it")
        if parts.scheme == "ssh" and (parts.hostname or "").startswith("-"):
            raise ValueError("the name of the host begins with a dash")

    @classmethod
    def address_options(cls, address: str) -> Mapping[str, Any]:
        """Return the options of `git+https://host/project.git@revision#docs/**`; raises ValueError."""
        parts = urlsplit(address.removeprefix("git+"))
        folder, _, last = parts.path.rstrip("/").rpartition("/")
        path, revision = parts.path, ""
        if "@" in parts.path:
            path, _, revision = parts.path.rpartition("@")
            folder, _, last = path.rstrip("/").rpartition("/")
        url = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
        name = last.removesuffix(".git") or folder.strip("/") or "repository"
        options: dict[str, Any] = {"url": url, "prefix": f"{name}/"}
        options |= {"revision": unquote(revision)} if revision else {}
        return options | ({"paths": unquote(parts.fragment)} if parts.fragment else {})

    @property
    def origin(self) -> str:
        """What the documents are known by as a whole; another revision of the same repository takes their place."""
        return f"git+{self.url}" if "://" in self.url else f"git+file://{self._folder()}"

    @property
    def within(self) -> str:
        """What the names of all documents begin with."""
        return self.prefix

    def documents(self) -> Iterable[DocumentMark]:
        """Return the files of the revision, unread; fetches it where the repository is elsewhere."""
        repository = GitRepository(self._folder(), self.fetch_s)
        if self._is_elsewhere():
            commit = repository.fetch(self.url, self.revision, max_bytes=self.max_bytes, token=self.token)
        elif os.path.isdir(self._folder()):
            commit = repository.commit(self.revision)
        else:
            raise SourceError(f"git: there is no folder {self._folder()}, which `url` names")
        selection = NameSelection(paths=as_tuple(self.paths), exclude=as_tuple(self.exclude))
        entries = repository.entries(commit)
        taken = [entry for entry in entries if selection.takes(entry.path)]
        sizes = repository.sizes({entry.id for entry in taken if entry.mode not in (_SUBMODULE, _LINK)})
        self._found_wrong = ()
        if not taken:
            self._found_wrong = (
                f"of the {counted(len(entries), 'file')} of {self.revision} none is named as `paths` asks",
            )
        return [self._mark(entry, sizes.get(entry.id)) for entry in taken]

    def _mark(self, entry: TreeEntry, size: int | None) -> DocumentMark:
        name = self.prefix + entry.path
        if entry.mode == _SUBMODULE:
            why = f"is a submodule, at {entry.id[:12]}: add its repository by itself to have it, too"
            return DocumentMark(name=name, stamp=entry.id, left_out=why)
        if entry.mode == _LINK:
            return DocumentMark(name=name, stamp=entry.id, left_out="is a link to another file")
        if size is None or size > self.max_bytes:
            told = f"{size:,} bytes long, more than" if size is not None else "larger than"
            why = f"is {told} the {self.max_bytes:,} that are taken; left out: raise `max_bytes`"
            return DocumentMark(name=name, stamp=entry.id, size=size or 0, left_out=why)
        is_light = self._document_reader().is_light(entry.path)
        mark = DocumentMark(name=name, place=entry.id, stamp=entry.id, size=size, apart=not is_light)
        return self._with_reader(mark)

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of one file."""
        if self._blobs is None:
            self._blobs = BlobReader(self._folder())
        data: bytes = self._blobs.read(mark.place)
        if data.startswith(_POINTER) and len(data) < _LONGEST_POINTER:
            why = "is a pointer of Git LFS: its content is not in the repository itself; left out"
            return DocumentRead(digest=mark.place, size=len(data), left_out=why)
        return read_bytes(data, FileOrigin(name=mark.name), self._document_reader(), known)

    def _is_elsewhere(self) -> bool:
        return "://" in self.url

    def _folder(self) -> str:
        """Return the folder of the repository: its own, or that of what was fetched of it."""
        if not self._is_elsewhere():
            return os.path.abspath(os.path.join(self.base_dir, os.path.expanduser(self.url)))
        cache = os.path.expanduser(self.cache) if self.cache else str(user_cache_path("contextnexus") / "git")
        key = sha256(f"{self.url}\0{self.max_bytes}".encode()).hexdigest()[:24]
        return os.path.join(os.path.abspath(os.path.join(self.base_dir, cache)), key)


def _shown(url: str) -> str:
    """Return an address without what may be a password."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2] if separator else url[:80]


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `git`."""
    return [Git]

"""The source `objects`: what is in object storage (S3, Google Cloud Storage, Azure) and wherever else fsspec leads."""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from nexus_core import DocumentMark, DocumentRead, SourceError, component, hookimpl, option, state
from nexus_core.toolkit import FileOrigin, counted, require_extra
from nexus_sources.ingestible import read_bytes, too_large
from nexus_sources.remote.documents import RemoteDocuments
from nexus_sources.remote.selection import NameSelection, as_tuple

EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure",
    "adl": "azure",
}  # fmt: skip
"""The extra that brings the driver of a kind of storage."""
_WEB = frozenset({"http", "https"})
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "version_id")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")
_UNSETTLED_S = 2.0


@component
class Objects(RemoteDocuments):
    """Reads the objects below an address of object storage, or of anything else that fsspec reads."""

    name: ClassVar[str] = "objects"

    url: str = option(help="Where they are: `s3://bucket/folder`, `gs://...`, `az://...`, `file:///folder`.")
    paths: str | tuple[str, ...] = option(
        (), help="Patterns of those that are read, such as `*.md` or `docs/**/*.pdf`; all where there is none."
    )
    exclude: str | tuple[str, ...] = option((), help="Patterns of what to leave out; without a slash a name anywhere.")
    prefix: str = option("", help="What stands before the names in ids and sources, such as `handbook/`.")
    storage: Mapping[str, Any] = option(
        factory=dict, help="Options of the storage's driver, as `{anon: true}`; keys belong into its environment."
    )
    most: int = option(100_000, help="So many objects are taken at most.", ge=1)
    _files: Any = state()

    def _check(self) -> None:
        scheme, separator, rest = self.url.partition("://")
        if not separator or not rest.strip("/"):
            raise ValueError("the address must name a storage and a place in it, as in s3://bucket/folder")
        if scheme.lower() in _WEB:
            raise ValueError("a page of the web is read by the source `url`, a whole site by `site`")
        if urlsplit(self.url.partition("::")[0]).password:
            raise ValueError("the address holds a password: leave it out, the driver finds its keys in the environment")

    @classmethod
    def address_options(cls, address: str) -> Mapping[str, Any]:
        """Return the options that an address stands for."""
        last = address.rstrip("/").rpartition("/")[2]
        return {"url": address, "prefix": f"{last}/"}

    @property
    def origin(self) -> str:
        """What the documents are known by as a whole."""
        return self.url.rstrip("/")

    @property
    def within(self) -> str:
        """What the names of all documents begin with."""
        return self.prefix

    def documents(self) -> Iterable[DocumentMark]:
        """Return the objects, unread."""
        files, root = self._opened()
        try:
            files.invalidate_cache()
            found: dict[str, Any] = files.find(root, detail=True)
        except FileNotFoundError:
            found = {}
        except Exception as error:
            raise SourceError(f"objects: {self.url} cannot be listed ({_said(error)})") from error
        if not found:
            raise SourceError(
                f"objects: there is nothing at {self.url}, or nothing that may be listed: check the address"
            )
        selection = NameSelection(paths=as_tuple(self.paths), exclude=as_tuple(self.exclude))
        taken = [(path, name) for path in sorted(found) if selection.takes(name := _name(path, root))]
        self._found_wrong = self._amiss(found, taken)
        now = time.time()
        return [self._mark(path, name, found[path], now) for path, name in taken[: self.most]]

    def _amiss(self, found: Mapping[str, Any], taken: list[tuple[str, str]]) -> tuple[str, ...]:
        if len(taken) > self.most:
            return (f"{self.url} has {len(taken):,} objects, more than most: {self.most:,}; the rest is left out",)
        if not taken:
            return (f"of the {counted(len(found), 'object')} at {self.url} none is named as `paths` and `exclude` ask",)
        return ()

    def _mark(self, path: str, name: str, info: Mapping[str, Any], now: float) -> DocumentMark:
        mark = DocumentMark(
            name=self.prefix + name,
            place=path,
            stamp=stamp_of_object(info, now),
            size=int(info.get("size") or 0),
            apart=not self._document_reader().is_light(name),
        )
        return self._with_reader(mark)

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of one object, which is fetched whole."""
        if mark.size > self.max_bytes:
            return DocumentRead(size=mark.size, left_out=too_large(mark.size, self.max_bytes))
        files, _ = self._opened()
        try:
            info = files.info(mark.place)
            # What does not say how large it is is asked for no more than is taken.
            data = files.cat_file(mark.place, **({} if info.get("size") else {"end": self.max_bytes + 1}))
        except FileNotFoundError as error:
            raise SourceError("was there when its folder was listed, and is gone") from error
        except Exception as error:
            raise SourceError(f"cannot be read ({_said(error)})") from error
        origin = FileOrigin(name=mark.name, modified_ns=int((_time(info) or 0) * 1e9))
        return read_bytes(data, origin, self._document_reader(), known)

    def _opened(self) -> tuple[Any, str]:
        """Return the file system and the path in it; raises SourceError where its driver is not installed."""
        if self._files is None:
            core = require_extra("fsspec.core", "s3", "objects")
            url = self.url
            if url.startswith("file://."):  # relative to the pipeline
                url = f"file://{os.path.abspath(os.path.join(self.base_dir, url.removeprefix('file://')))}"
            try:
                self._files = core.url_to_fs(url, **dict(self.storage))
            except ImportError as error:
                extra = EXTRAS.get(url.partition("://")[0].lower())
                how = f"pip install 'contextnexus[{extra}]'" if extra else str(error)
                raise SourceError(f"objects: {self.url} needs a driver that is not installed: {how}") from error
            except Exception as error:
                raise SourceError(f"objects: {self.url} cannot be opened ({_said(error)})") from error
        files, root = self._files
        return files, root

    def __reduce__(self) -> Any:
        """Send the options to another process; what is in the memory of this one is read here."""
        if self.url.startswith("memory:"):
            raise TypeError("what is in the memory of this process is read here")
        return RemoteDocuments.__reduce__(self)


def _name(path: str, root: str) -> str:
    """Return a path relative to the root; that of a single object is its own name."""
    relative = path.removeprefix(root.rstrip("/")).lstrip("/")
    return relative or posixpath.basename(path)


def stamp_of_object(info: Mapping[str, Any], now: float) -> str:
    """Return what changes with an object, empty where nothing is sure to."""
    tag = next((str(info[key]) for key in _TAGS if info.get(key)), "")
    time = _time(info)
    if not tag and (time is None or abs(now - time) < _UNSETTLED_S):
        return ""  # written just now, it may be written again within one tick of the storage's clock
    return f"{tag}-{time}-{info.get('size')}"


def _time(info: Mapping[str, Any]) -> float | None:
    """Return when an object was changed, in seconds since the epoch."""
    said = next((info[key] for key in _TIMES if info.get(key)), None)
    if isinstance(said, str):
        try:
            said = datetime.fromisoformat(said)
        except ValueError:
            return None
    if isinstance(said, datetime):
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
    return float(said) if isinstance(said, int | float) else None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `objects`."""
    return [Objects]

"""Messages that were fetched, in a folder: none is sent twice, and an interrupted look goes on where it was.

A message is known by the UIDVALIDITY of its folder and its UID: both the same, it is the same message for ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

from attrs import define

_KEPT = re.compile(r"(\d+-\d+)\.eml")


@define(eq=False, repr=False)
class MessageCache:
    """The messages of one folder of one mailbox."""

    folder: Path

    @classmethod
    def of(cls, root: str, *names: str) -> MessageCache:
        """Return that of a host, user and folder."""
        key = sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return cls(Path(root) / key)

    def known(self) -> frozenset[str]:
        """Return the ids of the messages that are kept."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return frozenset()
        return frozenset(kept[1] for name in names if (kept := _KEPT.fullmatch(name)))

    def keep(self, id: str, data: bytes) -> None:
        """Keep a message, as a whole or not at all; only its owner may read it."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with NamedTemporaryFile(dir=self.folder, prefix=".new-", delete=False) as file:
            file.write(data)
        os.replace(file.name, self._place(id))

    def message(self, id: str) -> bytes | None:
        """Return the bytes of a message."""
        try:
            return self._place(id).read_bytes()
        except OSError:
            return None

    def forget(self, ids: Collection[str]) -> None:
        """Forget messages that are gone."""
        for id in ids:
            self._place(id).unlink(missing_ok=True)

    def _place(self, id: str) -> Path:
        return self.folder / f"{id}.eml"

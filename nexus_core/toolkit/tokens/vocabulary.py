"""The tokens of an encoding, in a file that is searched as it is: opening it costs a read and a hash, no parsing.

Layout: the number of slots; the 256 single bytes in the order of their ranks; a hash table of that many places (open
addressing, linear probing, 0 = free); the longer tokens in the order of their ranks, each between two bytes 0xFF, which
never occur in UTF-8. Numbers are 32-bit little-endian. A place in the last part grows with the rank of the token that
starts there, so it serves as the rank wherever only the order counts, and merging asks for no more.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from hashlib import file_digest
from io import BufferedIOBase
from pathlib import Path
from zlib import crc32

from attrs import frozen

from nexus_core.toolkit.tokens.encodings import EncodingFacts

_END = b"\xff"
_SINGLES = 256
_HEAD = 4 + _SINGLES
_FULL = 0.8
"""How full the hash table may be; at that a search looks at 2.6 places on average."""


@frozen(repr=False)
class TokenRanks:
    """The tokens of one encoding."""

    singles: bytes
    table: array[int]
    tokens: bytes

    def place(self, token: bytes) -> int:
        """Return a number that grows with the rank of a token of two bytes or more, or 0 if there is no such token."""
        table, last = self.table, len(self.table) - 1
        slot, wanted = crc32(token) & last, token + _END
        while place := table[slot]:
            if self.tokens.startswith(wanted, place):
                return place
            slot = (slot + 1) & last
        return 0

    def by_token(self) -> dict[bytes, int]:
        """Return the rank of every token, as tiktoken takes them."""
        longer = self.tokens[1:-1].split(_END)
        ranks = dict(zip(longer, range(_SINGLES, _SINGLES + len(longer)), strict=True))
        ranks.update((bytes([byte]), rank) for rank, byte in enumerate(self.singles))
        return ranks


def load_ranks(facts: EncodingFacts) -> TokenRanks:
    """Read the packaged file of an encoding and verify it by its hash."""
    path = Path(__file__).with_name(f"{facts.name}.ranks")
    with path.open("rb") as file:
        if file_digest(file, "sha256").hexdigest() != facts.packed_sha256:
            raise ValueError(f"{path} is damaged: its SHA-256 is not {facts.packed_sha256}; install contextnexus again")
        file.seek(0)
        return unpack(file)


def unpack(file: BufferedIOBase) -> TokenRanks:
    """Return the ranks that a packed file holds; each part is read into its place, so that memory holds it once."""
    head = file.read(_HEAD)
    table = array("I", bytes(4)) * int.from_bytes(head[:4], "little")
    file.readinto(table)
    if sys.byteorder == "big":
        table.byteswap()
    return TokenRanks(head[4:], table, file.read())


def pack(ranks: Mapping[bytes, int]) -> bytes:
    """Return the packed file for ranks that run from 0 without a gap, the single bytes first."""
    ordered = sorted(ranks, key=ranks.__getitem__)
    longer = ordered[_SINGLES:]
    slots = 1 << int(len(longer) / _FULL).bit_length()
    table, place = array("I", bytes(4 * slots)), 1
    for token in longer:
        slot = crc32(token) & (slots - 1)
        while table[slot]:
            slot = (slot + 1) & (slots - 1)
        table[slot] = place
        place += len(token) + 1
    if sys.byteorder == "big":
        table.byteswap()
    singles = b"".join(ordered[:_SINGLES])
    return slots.to_bytes(4, "little") + singles + table.tobytes() + _END + _END.join(longer) + _END

"""Identity of a server's process, by which others of the same machine can tell whether it still lives.

What is known of a process on another machine is only that it has gone on; of one on this machine the system knows.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from secrets import token_hex
from typing import Literal

Life = Literal["alive", "dead", "unknown"]

_PARTS = 4
_STARTED = 19
"""Where the start of a process stands in what Linux tells of it, after its name."""


def describe_process() -> str:
    """Return the identity of this process for one server in it: machine, number, start, and something of its own."""
    number = os.getpid()
    return " ".join((_machine(), str(number), _start_of(number) or "-", token_hex(4)))


def find_life(server: str) -> Life:
    """Tell whether the process of a server lives; of one on another machine, or of another system, nobody knows."""
    parts = server.split(" ")
    if len(parts) != _PARTS or parts[0] != _machine() or not parts[1].isdigit():
        return "unknown"
    number = int(parts[1])
    if parts[2] == "-":  # no more is told by this system than that there is such a number
        return "alive" if _is_there(number) else "dead"
    return "alive" if _start_of(number) == parts[2] else "dead"


def _machine() -> str:
    """Return what tells machines apart, and containers of one, whose processes have numbers of their own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname().replace(" ", "_")


def _start_of(number: int) -> str:
    """Return when a process was started, in the words of Linux; nothing where it is not there, or over."""
    try:
        told = Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if told[0] in (b"Z", b"X") else told[_STARTED].decode()


def _is_there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True

"""What confinement costs: until `nexus serve` is ready, as it is and as nobody with nothing to write but its data.

    python tests/bench/confined.py [--runs 7]

In a mount namespace of its own (`unshare`) every file system but the data folder is read-only; the server runs there as
the user 65534 without capabilities and may get none (`setpriv`), as in the image of deploy/Dockerfile, whose root is
read-only under compose and Kubernetes. Needs the right to mount.

Ready is the first 200 of `/readyz`, from the start of the process, `unshare` and its mounts included. The median of the
processors' time with confinement is at most 1.2 x the usual one, whatever else the machine does; the clock's is told
beside it. Runs alternate. Exits 1 when the gate is missed.

Left out: the image itself and its container engine, limits of CPU and memory, a store that is not empty, and pipelines
that read more than the quickstart does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, starmap
from pathlib import Path
from shlex import quote
from time import perf_counter, sleep
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent.parent
GATE = 1.2
NOBODY = 65534
SERVE = (sys.executable, "-P", "-m", "nexus_core", "serve", "--port", "0", "--store", "store")
NARROWED = """
set -e
data=$1; shift
umask 022
mount --make-rprivate /
{opened}
mount --bind "$data" "$data"
for place in $(cut -d ' ' -f 2 /proc/self/mounts | sort -u); do
    case $place in "$data" | /proc | /proc/* | /sys | /sys/*) continue ;; esac
    mount -o remount,bind,ro "$place" 2>/dev/null || :
done
for place in /tmp /var/tmp /dev/shm "$data/.."; do
    if touch "$place/nexus-probe" 2>/dev/null; then echo "$place can be written" >&2; exit 9; fi
done
cd "$data"
exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""


def confined(data: Path) -> tuple[str, ...]:
    """Return what stands before a command that may write a folder alone."""
    opened = "\n".join(chain.from_iterable(starmap(_opened, sorted(_closed().items()))))
    return ("unshare", "--mount", "sh", "-c", NARROWED.replace("{opened}", opened), "sh", str(data))


def _closed() -> dict[Path, list[Path]]:
    """Return the folders that only their owner enters, each with what of Python and the checkout is in it."""
    found: dict[Path, list[Path]] = {}
    for needed in sorted({Path(sys.base_prefix), Path(sys.prefix), ROOT}):
        for folder in reversed(needed.parents):
            if not folder.stat().st_mode & 0o001:
                found.setdefault(folder, []).append(needed)
                break
    return found


def _opened(folder: Path, needed: Sequence[Path]) -> Iterator[str]:
    """Yield the commands that put a folder with what is needed, which all may enter, in the place of one."""
    yield "mount -t tmpfs -o mode=755 tmpfs /mnt"
    for number, each in enumerate(needed):
        yield f"mkdir /mnt/{number} && mount --rbind {quote(str(each))} /mnt/{number}"
    yield f"mount -t tmpfs -o mode=755 tmpfs {quote(str(folder))}"
    for number, each in enumerate(needed):
        yield f"mkdir -p {quote(str(each))} && mount --move /mnt/{number} {quote(str(each))}"
    yield "umount /mnt"


def missing() -> str:
    """Return what is missing to confine anything here, or nothing."""
    if any(shutil.which(program) is None for program in ("unshare", "setpriv", "mount")):
        return "needs the right to mount: unshare, setpriv and mount are not all there"
    with data_folder() as data:
        tried = [*confined(data), sys.executable, "-P", "-c", "import nexus_core, sys; print(sys.base_prefix)"]
        done = subprocess.run(tried, capture_output=True, text=True, check=False)
    if done.stdout.strip() == sys.base_prefix:
        return ""
    return f"needs the right to mount file systems (root, or CAP_SYS_ADMIN): {done.stderr.strip()[-200:]}"


@contextmanager
def served(before: Sequence[str], data: Path) -> Iterator[tuple[str, int]]:
    """Give the address and the id of a server that is ready, in a folder; raises OSError where it ends before that."""
    os.chown(data, NOBODY, NOBODY)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OTEL_"))}
    started = subprocess.Popen(
        [*before, *SERVE], cwd=data, env={**environment, "HOME": str(data)}, stderr=subprocess.PIPE, text=True
    )
    with started as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if line.startswith("listening on"):
                break
        else:
            raise OSError("".join(told))
        try:
            _await(line.split()[-1])
            yield line.split()[-1], process.pid
        finally:
            process.terminate()


def _await(address: str) -> None:
    """Return with the first 200 of the readiness route."""
    while True:
        try:
            with urlopen(f"{address}/readyz", timeout=5):
                return
        except URLError:
            sleep(0.005)


@contextmanager
def data_folder() -> Iterator[Path]:
    """Give a folder that nobody reaches, and that goes again."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        data = Path(folder) / "data"
        data.mkdir()
        yield data


def start(*, narrowed: bool) -> tuple[float, float]:
    """Return how long a server takes to be ready: by the clock, and of the processors."""
    with data_folder() as data:
        began = perf_counter()
        with served(confined(data) if narrowed else (), data) as (_, pid):
            took = perf_counter() - began
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            # Its own and those of the processes that have ended for it, which is what narrows it.
            return took, sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    if lack := missing():
        print(lack)
        return 2
    for narrowed in (False, True):  # compiles, and warms the disk
        start(narrowed=narrowed)
    took: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for _ in range(options.runs):
        for narrowed, kept in took.items():
            kept.append(start(narrowed=narrowed))
    usual, narrow = (
        [statistics.median(each) for each in zip(*took[narrowed], strict=True)] for narrowed in (False, True)
    )
    for place, what in enumerate(("by the clock", "of the processors")):
        ratio = narrow[place] / usual[place]
        print(f"{what:<18}{usual[place] * 1e3:8.0f} ms as it is{narrow[place] * 1e3:8.0f} ms confined {ratio:6.2f} x")
    print(f"gate {GATE} x of the processors: {'ok' if ratio <= GATE else 'MISSED'}")
    return int(ratio > GATE)


if __name__ == "__main__":
    sys.exit(main())

"""The command `nexus`, also as `python -P -m nexus_core`, for where no script is installed."""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """Run the command line of this process.

    Until the command itself begins Ctrl-C ends the process as it ends any program that does not heed it. Python would
    raise KeyboardInterrupt in the midst of an import, and print where.
    """
    try:
        signal = import_module("signal")  # brings enum, which takes longer than all that comes before it
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may have it ignored
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        sys.exit(130)
    import_module("nexus_core.cli.main").main()


if __name__ == "__main__":
    main()

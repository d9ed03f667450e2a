"""The command `nexus` as `python -P -m nexus_core`, for where no script is installed."""

from nexus_core.cli.main import main

if __name__ == "__main__":
    main()

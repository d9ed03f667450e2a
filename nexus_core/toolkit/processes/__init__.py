"""Child processes and threads that can be stopped: safe environments, time limits, ends in time."""

"""The PID by which a run names what it makes: its folder, control groups, tracing instance and storm processes."""

import os

# That of the process which the user started, read when the harness is imported: later the harness may be PID 1 of a
# namespace, and every run would have the same names, which a process that lives forever seems to own.
HARNESS = os.getpid()

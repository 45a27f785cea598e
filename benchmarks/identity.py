"""The PID in the names of everything that a run makes: folder, control groups, tracing instance, storm processes."""

import os

# The PID of the process that the user started. It is read at import, because the harness may later be PID 1 of a
# namespace: all runs would then use the same names, and PID 1 always exists, so no stale name would be removed.
HARNESS = os.getpid()

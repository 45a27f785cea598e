"""Settings of all tests: paths of the project and its interpreters, the deadline, and the forwarded signals."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# The interpreter under test, and the one that runs helper programs, without the slow start of a virtual environment.
PYTHON = os.environ.get("PYINIT_TEST_PYTHON", sys.executable)
HELPER = getattr(sys, "_base_executable", sys.executable)

# Seconds after which a test gives up waiting: enough for a loaded machine. An emulated machine sets more. No test
# measures time by it.
DEADLINE = float(os.environ.get("PYINIT_TEST_DEADLINE", "30"))

# A new PID namespace with its own /proc; without root this needs a user namespace, unshare(1). If unshare is killed, so
# is its child, which is PID 1, and with PID 1 the kernel kills the whole namespace, pid_namespaces(7).
NAMESPACE = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc", "--kill-child",
             *(["--user", "--map-root-user"] if os.geteuid() else [])]

# A new mount namespace.
MOUNTS = ["/usr/bin/unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]

# Signals that pyinit cannot forward: SIGKILL and SIGSTOP cannot be caught, the C library reserves 32 and 33, and
# SIGCHLD is about pyinit's own children.
NOT_FORWARDED = {signal.SIGKILL, signal.SIGSTOP, 32, 33, signal.SIGCHLD}
FORWARDED = [number for number in range(1, 65) if number not in NOT_FORWARDED]

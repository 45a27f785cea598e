"""pyinit does the right thing on this kernel where kernels differ: docs/reference.md, "Kernels".

tests/vm runs these tests on older kernels.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess

from pyinit.linux import output
from support.inits import Init
from support.orphans import ONE_BY_ONE, scene
from support.proc import children_of, read_status
from support.settings import DEADLINE, NAMESPACE
from support.waiting import wait_until
from support.zombie_scenes import REPORT

VERSION = tuple(int(part.partition("-")[0]) for part in os.uname().release.split(".")[:2])
RWF_NOWAIT = 8  # pwritev2(2)


def test_reap_kernel(mode: str, launcher: str) -> None:
    """From Linux 6.15 on, a pidfd has the exit code of a process that the kernel has reaped."""
    init = Init(mode, [launcher], "kernel")
    with init.start(scene(ONE_BY_ONE, 5)) as running:
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        ignored = int(read_status(pid)["SigIgn"], 16) >> (signal.SIGCHLD - 1) & 1
        result = running.finish()
    release = f"Linux {VERSION[0]}.{VERSION[1]}"
    warning = f"pyinit: warning: --reap kernel is not possible here ({release} is older than 6.15)"
    assert result.code == 57
    if VERSION >= (6, 15):
        assert (ignored, result.err) == (1, b"")
    else:
        assert ignored == 0 and result.err.decode().startswith(warning) and result.err.count(b"\n") == 1


def test_pid_max_of_a_namespace(namespaces: None) -> None:
    """From Linux 6.14 on, kernel.pid_max belongs to the PID namespace of its reader."""
    done = subprocess.run([*NAMESPACE, *REPORT, "--json"], capture_output=True, timeout=DEADLINE, check=True)
    budget, = (budget for budget in json.loads(done.stdout)["budgets"] if budget["budget"] == "pid_max")
    tasks = int(open("/proc/loadavg").read().split()[3].split("/")[1])
    if VERSION >= (6, 14):
        assert budget["scope"] == "this PID namespace" and budget["used"] < 10
    else:
        assert budget["scope"] == "" and abs(budget["used"] - tasks) < tasks / 2


def test_line_to_a_pipe_without_waiting() -> None:
    """From Linux 6.4 on, RWF_NOWAIT works for pipes. Before that, output asks poll(2) whether there is room."""
    reader, writer = os.pipe()
    try:
        try:
            os.pwritev(writer, [b"first\n"], -1, RWF_NOWAIT)
            assert VERSION >= (6, 4)
        except OSError as error:
            assert (error.errno, VERSION < (6, 4)) == (errno.EOPNOTSUPP, True)
            os.write(writer, b"first\n")
        output.write_shared(writer, b"second\n")
        assert os.read(reader, 100) == b"first\nsecond\n"
        while select.select([], [writer], [], 0)[1]:
            os.write(writer, bytes(4096))
        output.write_shared(writer, b"third\n")  # write(2) would block forever
        assert b"third" not in os.read(reader, 1 << 20)
    finally:
        os.close(reader)
        os.close(writer)

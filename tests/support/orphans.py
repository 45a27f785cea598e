"""Main children that leave orphans, and checks that an init reaps these orphans, or that they stay zombies."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from support.inits import Init
from support.proc import children_of, stop, zombies_of
from support.processes import Command, PopenOptions, Running, python, source
from support.waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Executes its argv with two children that have ended. A shell might reap one of them first.
ZOMBIES_FIRST = """
import os, sys
for code in (4, 5):
    child = os.fork() or os._exit(code)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
os.execvp(sys.argv[1], sys.argv[1:])
"""

# Makes children whose exit signal is not SIGCHLD; waitpid(2) passes over them without __WALL or __WCLONE. argv[1]: the
# number of clone(2).
CLONES = """
import ctypes, os, sys
def clone(number, act=lambda: None):
    child = ctypes.CDLL(None).syscall(int(sys.argv[1]), number, 0, 0, 0, 0)
    if child == 0:
        act()
        os._exit(0)
    return child
"""

# Executes argv[2:] with two such children that have ended, and two that end after the execve(2).
CLONES_FIRST = CLONES + """
for number in (0, 23):  # SIGURG
    os.waitid(os.P_PID, clone(number), os.WEXITED | os.WNOWAIT | 0x40000000)  # __WALL
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    executed, hold = os.pipe()  # closed by execve(2)
    for number in (0, 23):
        clone(number, lambda: (os.close(hold), os.read(executed, 1)))
    os.execvp(sys.argv[2], sys.argv[2:])
"""

# Leaves orphans, writes "done" when all have exited, and then waits for its stdin. Each orphan and each orphan's parent
# holds the write end of a pipe, so that its end of file means that all have ended.
SCENE = """
import os, sys
count = int(sys.argv[1])
alive, hold = os.pipe()
start, go = os.pipe()

def orphan(act=lambda: None):
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            act()
        os._exit(0)
    os.waitpid(parent, 0)

def main():
    {body}

main()
os.close(hold)
os.close(go)
os.read(alive, 1)
os.write(1, b"done\\n")
os.read(0, 1)
os._exit(57)
"""


def scene(body: str, count: int) -> list[str]:
    """Return the command of a main child that leaves `count` orphans as `body` does."""
    return python(SCENE.replace("{body}", body.strip().replace("\n", "\n    ")), str(count))


# Orphans that exit one by one; the same, but only after a byte on stdin; orphans that all exit in the instant in which
# the main child closes its end of a pipe.
ONE_BY_ONE = "for _ in range(count): orphan()"
ON_DEMAND = f"os.write(1, b'ready\\n')\nos.read(0, 1)\n{ONE_BY_ONE}"
TOGETHER = "for _ in range(count): orphan(lambda: (os.close(go), os.read(start, 1)))"


def run_scene(init: Init, command: Command, options: Command = (), **popen: Unpack[PopenOptions]) -> bytes:
    """Run a scene until all of its orphans are reaped; check its exit code, and return what pyinit wrote to stderr."""
    with init.start(command, options, **popen) as running:
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        result = running.finish()
    assert result.code == 57, result.err
    return result.err


def reap_all(init: Init, command: list[str], count: int) -> None:
    """Run a scene and check that pyinit reaps each orphan, keeps the main child alone, and exits with its exit code.

    Only the waitpid loop sees the orphans; with -w it reports each one.
    """
    loop = init.reaper == "wait"
    error = run_scene(init, command, ["-w"] if loop else [])
    assert error.count(b"reaped zombie process with PID") == (count if loop else 0)
    assert loop or error == b""


def end_with_orphans(running: Running, pid: int, count: int) -> None:
    """Stop pyinit while a main child that waits to make orphans makes them and ends.

    pyinit then finds all of these zombies at once. The first is the main child, which is its oldest child.
    """
    stop(pid)
    running.write(b"\n")
    running.expect("done")
    running.write(b"\n")
    wait_until(lambda: len(zombies_of(pid)) == 1 + count, "all to have ended")
    os.kill(pid, signal.SIGCONT)


def leave_all(stand_in: Init, command: list[str], count: int) -> None:
    """Run a scene under the stand-in, which does not reap. Each orphan stays a zombie, so the scene tests something."""
    with stand_in.start(command) as running:
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(zombies_of(pid)) == count, f"{count} zombies")
        assert running.finish().code == 57


WORKER = source("worker")


def use(running: Running, orphans: int = 10) -> None:
    """Check that a worker's orphans are reaped, that signals reach it, and that pyinit exits with its exit code."""
    pid = running.pid
    for number in range(1, orphans + 1):
        running.write(b"x")
        running.expect("made")
        if number % 10 == 0:  # no limit on processes is that low
            wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
    running.send(signal.SIGUSR1)
    running.expect("signal")
    assert running.finish().code == 23

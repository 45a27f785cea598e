"""A pod with a shared PID namespace, without a container engine: its pause is PID 1, and its containers enter later.

The parent of a process that enters is outside of the namespace, as with a process that a container engine starts. PID 1
adopts the orphans of such a process, pid_namespaces(7). Each pod has its own network and mount namespace, so that
several pods can use the same ports.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Optional

from pyinit.linux.procfs import list_children

from . import cgroups, namespaces, procfs, system
from .inits import INIT, Init, split_environment

# unshare(1) executes the init in its own process, so the init is PID 1.
OWN_NAMESPACES = ["/usr/bin/unshare", "--net", "--mount", "--mount-proc", "--"]
MAIN = ["/bin/sleep", "infinity"]  # the main child of an init that is not a pause
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # netdevice(7)


class Pod:
    """A pod; a `with` statement starts it and ends all its processes. group: its PID budget, or None."""

    def __init__(self, init: Init, budget: Optional[cgroups.PidBudget]) -> None:
        self.init = init
        self.group = budget
        self.stack = ExitStack()
        self.engine: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Pod:
        """Start the init or pause, and wait until it has settled. Raises StartError, OSError."""
        with ExitStack() as stack:
            if self.group:
                stack.enter_context(self.group)
            environment, argv = split_environment(self.init.command)
            words = [f"{name}={value}" for name, value in environment]
            main = MAIN if self.init.kind == INIT else []
            stack.callback(self.wait_for_engine)
            join = [self.group.processes] if self.group else []
            self.pause = stack.enter_context(namespaces.start([*words, *OWN_NAMESPACES, *argv, *main], join=join))
            if not procfs.wait_settled(self.pause.pid):
                raise namespaces.StartError(f"{self.init.name} ended, or did not come to rest")
            set_loopback_up(self.pause.pid)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def wait_for_engine(self) -> None:
        """Wait for the nsenter(1) processes outside of the pod, each of which ends with the program that it started."""
        for process in self.engine:
            process.wait()

    def enter(self, argv: Sequence[str], environment: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program in the pod, as a container engine does for a container and for `exec`.

        Returns its parent, nsenter(1), which has its exit code. output: a file for stdout and stderr.
        """
        process = subprocess.Popen(["/usr/bin/nsenter", f"--target={self.pause.pid}", "--pid", "--net", "--mount", "--",
                                    *argv], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   env=environment, start_new_session=True, preexec_fn=self.join_budget)
        self.engine = [one for one in self.engine if one.poll() is None] + [process]
        return process

    def join_budget(self) -> None:
        """Move the calling process into the group, so that it and its children count against the budget."""
        if self.group:
            self.group.write("cgroup.procs", "0")  # cgroups(7): 0 stands for the writer

    def count_zombies(self) -> Counter[str]:
        """Return how many zombies of each name PID 1 has not reaped. Raises OSError if PID 1 has ended."""
        children = list_children(self.pause.pid)
        return Counter(procfs.read_name(child) for child in children if procfs.read_state(child) == "Z")

    def count_pids(self) -> Optional[int]:
        """Return how many PIDs are in use, threads and zombies included; None without a budget."""
        return self.group.used() if self.group else None


def set_loopback_up(pid: int) -> None:
    """Set the loopback interface up in the network namespace of a process. Raises StartError."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with open(f"/proc/{pid}/ns/net", "rb") as namespace:
                system.enter_namespace(namespace.fileno(), system.CLONE_NEWNET)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise namespaces.StartError("the loopback interface of a new network namespace could not be set up")

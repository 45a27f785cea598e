"""Find out how the harness may start inits. As root, or in a user namespace that it enters, it makes PID namespaces."""

from __future__ import annotations

import os
import signal
import sys

from . import system
from .namespaces import NAMESPACE, SUBREAPER, kill_if_there, own_namespace, read_code


def find_mode() -> str:
    """Return the mode that this process is allowed to use, NAMESPACE or SUBREAPER.

    May return in a child of this process, in a user namespace.
    """
    if may_make_namespaces():
        return NAMESPACE
    if may_enter_user_namespace():
        enter_user_namespace()
        return NAMESPACE
    system.become_subreaper()  # so that the harness adopts, and can end, the orphans of an init that was killed
    return SUBREAPER


def may_make_namespaces() -> bool:
    """Return whether this process can make a PID namespace and leave it again."""
    try:
        with own_namespace(NAMESPACE):
            return True
    except OSError:
        return False


def may_enter_user_namespace() -> bool:
    """Return whether enter_user_namespace() would work; try it in a child."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            become_root()
            inner = os.fork()
            if inner == 0:
                system.mount("proc", "/proc", "proc")
                os._exit(0 if may_make_namespaces() else 1)
            code = read_code(os.waitpid(inner, 0)[1])
        except OSError:
            pass
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def become_root() -> None:
    """Enter a new user namespace in which this user is root, user_namespaces(7), with new mount and PID namespaces.

    Raises OSError.
    """
    user, group = os.geteuid(), os.getegid()
    system.unshare(system.CLONE_NEWUSER | system.CLONE_NEWNS | system.CLONE_NEWPID)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def enter_user_namespace() -> None:
    """Continue in a child that is root and PID 1 of new namespaces. This process only exits with the child's exit code.

    When the child ends, the kernel ends everything that it has started, pid_namespaces(7).
    """
    sys.stdout.flush()
    outer = os.getpid()
    child = os.fork()
    if child:
        hand_on(child)
    system.set_parent_death_signal(signal.SIGTERM)
    if os.getppid() != outer:
        os._exit(1)
    become_root()
    child = os.fork()
    if child:
        hand_on(child)
    system.set_parent_death_signal(signal.SIGTERM)
    system.mount("proc", "/proc", "proc")


def hand_on(child: int) -> None:
    """Forward signals to the child, and exit with its exit code. Does not return."""

    def pass_on(number: int, _frame: object) -> None:
        kill_if_there(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN if os.isatty(0) else pass_on)  # the terminal also sends it to the child
    os._exit(read_code(os.waitpid(child, 0)[1]))

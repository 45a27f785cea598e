"""Be the main child of a family: start a helper for each argument after the first, and end with exit code 40 at any
byte or the end of stdin.

A helper prints `NAME N` for each signal N except SIGCONT. Its name says what else it does:
  polite     ends at SIGTERM
  stubborn   does not end
  daemon     is polite, in its own session, with a parent that has exited
  stopped    is polite, and stops itself first
  last       is polite, but ends only when the test closes the pipe that is fd 3
  a) S 1 (b  is polite; a process may have any name, which /proc/PID/stat does not escape
  other      is polite, and changes to another user
  forker     leaves one orphan after another, and ignores SIGTERM
If the first argument is "deaf", the main child blocks every signal, prints each except SIGCONT as `main N`, and ends
at SIGUSR1 with exit code 41.
"""

import os
import signal
import sys

waited = {*range(1, 65)} - {9, 19, 17, 32, 33}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
alive, hold = os.pipe()


def say(text):
    """Write a line."""
    os.write(1, text.encode() + b"\n")


def become(name):
    """Change this process as the helper's name says."""
    if name == "daemon":
        os.setsid()
        if os.fork():
            os._exit(0)
    os.close(0)
    with open("/proc/self/comm", "w") as file:
        file.write(name)
    if name == "other":
        os.setgroups([])
        os.setgid(1234)
        os.setuid(1234)


def leave_orphans():
    """Leave one orphan after another. Does not return."""
    while True:
        child = os.fork()
        if child == 0:
            os.fork()
            os._exit(0)
        os.waitpid(child, 0)


def helper(name):
    """Run a helper, which prints each signal. Does not return."""
    become(name)
    os.write(hold, b"x")  # the helper is ready
    if name == "forker":
        leave_orphans()
    if name == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        number = int(signal.sigwait(waited))
        if number != signal.SIGCONT:
            say("%s %d" % (name, number))
        if number == signal.SIGTERM and name != "stubborn":
            if name == "last":
                os.read(3, 1)
            os._exit(7)


kind, *names = sys.argv[1:]
for name in names:
    child = os.fork()
    if child == 0:
        helper(name)
    if name == "stopped":
        os.waitpid(child, os.WUNTRACED)  # a SIGCONT that comes before the stop would do nothing
for _ in names:
    os.read(alive, 1)
say("ready")
if kind == "deaf":
    while True:
        number = int(signal.sigwait(waited))
        if number != signal.SIGCONT:
            say("main %d" % number)
        if number == signal.SIGUSR1:
            os._exit(41)
signal.pthread_sigmask(signal.SIG_UNBLOCK, waited)
os.read(0, 1)
os._exit(40)

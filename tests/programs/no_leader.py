"""Run argv in its own process group, but not as a session leader; print its PID and its exit code."""

import os
import sys

child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.write(1, b"%d started\n" % os.getpid())  # before what the program prints
    os.execv(sys.argv[1], sys.argv[1:])
os.write(1, b"code %d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

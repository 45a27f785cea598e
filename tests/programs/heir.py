"""Adopt orphans, run argv as a child, and print its exit code and the number of zombies that it has left.
"""

import ctypes
import os
import sys

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
left = 0
try:
    while os.waitpid(-1, os.WNOHANG)[0]:
        left += 1
except ChildProcessError:
    pass
os.write(1, b"code %d left %d\n" % (code, left))

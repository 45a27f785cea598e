"""Become a subreaper, make a child that leaves as many orphans as each line on stdin says, and execute argv. execve(2)
keeps the subreaper attribute, prctl(2).
"""

import ctypes
import os
import sys

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
if os.fork() == 0:
    for line in os.fdopen(0):
        for _ in range(int(line)):
            child = os.fork()
            if child == 0:
                os.fork()
                os._exit(0)
            os.waitpid(child, 0)
        os.write(1, b"done\n")
    os._exit(0)
os.execv(sys.argv[1], sys.argv[1:])

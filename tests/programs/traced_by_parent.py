"""Leave an orphan that makes the PID 1 of its namespace its tracer and exits."""

import ctypes
import os

alive, hold = os.pipe()
parent = os.fork()
if parent == 0:
    if os.fork():
        os._exit(0)
    while os.getppid() != 1:
        os.sched_yield()
    if ctypes.CDLL(None).ptrace(0, 0, None, None) == 0:  # PTRACE_TRACEME
        os.write(hold, b"traced\n")
    os._exit(0)
os.waitpid(parent, 0)
os.close(hold)
os.write(1, os.read(alive, 10))
os.read(alive, 1)

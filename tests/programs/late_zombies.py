"""Keep one zombie at any time. For each byte on stdin replace it by another, and write "replaced"."""

import os

def end():
    child = os.fork() or os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return child
last = end()
os.write(1, b"ready\n")
while os.read(0, 1):
    new = end()
    os.waitpid(last, 0)
    last = new
    os.write(1, b"replaced\n")

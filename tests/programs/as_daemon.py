"""Run argv as a daemon: in its own session, with a parent that has exited."""

import os
import sys

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    os._exit(0)
os.wait()

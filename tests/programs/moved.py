"""Move to the process group of a child, print "moved", and wait."""

import os
import signal

child = os.fork()
if child == 0:
    signal.pause()
os.setpgid(child, child)
os.setpgid(0, child)
os.write(1, b"moved\n")
signal.pause()

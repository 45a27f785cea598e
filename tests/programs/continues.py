"""Run argv[2:] in the background, and continue it for each of two bytes from the descriptor argv[1]: first like `bg`,
then like `fg`.
"""

import os
import signal
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.write(1, b"%d started\n" % os.getpid())  # before what the program prints
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
    os.execv(sys.argv[2], sys.argv[2:])
for background in (True, False):
    os.read(int(sys.argv[1]), 1)
    if not background:
        os.tcsetpgrp(0, job)
    os.kill(-job, signal.SIGCONT)
os.waitpid(job, 0)
os.write(1, b"given back %s\n" % str(os.tcgetpgrp(0) == job).encode())

"""Run argv in the foreground, as a shell runs a job, and print whether its group has the foreground at its end."""

import os
import signal
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
    os.execv(sys.argv[1], sys.argv[1:])
os.waitpid(child, 0)
os.write(1, b"given back %s\n" % str(os.tcgetpgrp(0) == child).encode())

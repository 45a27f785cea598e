"""Give the foreground to a job that ends at once, and end as well: the foreground group is then empty."""

import os
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    os._exit(0)
os.waitpid(job, 0)

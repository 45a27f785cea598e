"""Print each SIGUSR1, and end at SIGTERM with exit code 44."""

import os
import signal

waited = {signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
os.write(1, b"ready\n")
number = 0
while number != signal.SIGTERM:
    number = int(signal.sigwait(waited))
    if number != signal.SIGTERM:
        os.write(1, b"%d\n" % number)
os._exit(44)

"""Print whether this process is in the foreground, then each signal, and end at SIGTERM."""

import os
import signal

waited = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
os.write(1, b"foreground %s\n" % str(os.tcgetpgrp(0) == os.getpgrp()).encode())
number = 0
while number != signal.SIGTERM:
    number = int(signal.sigwait(waited))
    os.write(1, b"<%d>\n" % number)

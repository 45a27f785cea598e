"""Print each signal, and end at the second SIGTERM. Signals are blocked and taken by sigwait(3), so that none is lost
between two others.
"""

import os
import signal

waited = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
os.write(1, b"ready\n")
terms = 0
while terms < 2:
    number = int(signal.sigwait(waited))
    os.write(1, b"%d\n" % number)
    terms += number == signal.SIGTERM

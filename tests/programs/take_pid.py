"""Leave a process that, at a byte on stdin, starts another one with the main child's PID. That one prints "same", and
at the next byte whether SIGTERM has come. The kernel frees a PID a moment after the process has left /proc, so the
start is tried again.
"""

import os
import signal

wanted = os.getpid()
if os.fork() == 0:
    os.setsid()
    os.write(1, b"ready\n")
    os.read(0, 1)
    while True:  # the end of the namespace ends it
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(wanted - 1))
        if os.fork() == 0:
            if os.getpid() != wanted:
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            os.setsid()
            os.write(1, b"same\n")
            os.read(0, 1)
            os.write(1, b"hit\n" if signal.SIGTERM in signal.sigpending() else b"spared\n")
            os._exit(0)
        if os.wait()[1] == 0:
            break
    os._exit(0)
signal.pause()

"""For each byte on stdin, leave orphans of several kinds, and print the number of SIGRTMIN that have arrived."""

import os
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
os.write(1, b"ready\n")
got = 0
while os.read(0, 1):
    for kind in range(20):
        if os.fork() == 0:
            if os.fork() == 0:
                if kind % 3 == 0:
                    os.fork()
                if kind % 4 == 0:
                    os.setsid()
                if kind % 5 == 0:
                    os.kill(os.getpid(), 9)
            os._exit(0)
        os.wait()
    while signal.sigtimedwait({signal.SIGRTMIN}, 0):
        got += 1
    os.write(1, b"%d\n" % got)
os._exit(33)

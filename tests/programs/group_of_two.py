"""Print each signal as `main N`, with a child in the same process group that prints its signals as `child N`."""

import os
import signal

waited = {signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
read, write = os.pipe()
name = b"child" if os.fork() == 0 else b"main"
if name == b"child":
    os.write(write, b"x")
else:
    os.read(read, 1)
    os.write(1, b"ready\n")
number = 0
while number != signal.SIGTERM:
    number = int(signal.sigwait(waited))
    os.write(1, b"%s %d\n" % (name, number))
if name == b"main":
    os.wait()

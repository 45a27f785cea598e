"""Make an orphan for each byte on stdin, print "signal" for each signal, and end with exit code 23 at end of file.

Signals come through a pipe: a Python handler does not run during a read that begins as the signal comes.
"""

import os
import select
import signal

woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # CPython ignores both; pyinit must not send them
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
os.write(1, b"ready\n")
while True:
    if woken in select.select([0, woken], [], [])[0]:
        os.read(woken, 1)
        os.write(1, b"signal\n")
        continue
    if not os.read(0, 1):
        os._exit(23)
    parent = os.fork()
    if parent == 0:
        os.fork()
        os._exit(0)
    status = os.waitpid(parent, 0)[1]
    os.write(1, b"failed\n" if status else b"made\n")

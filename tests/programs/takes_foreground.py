"""Run argv in the foreground. When it has written a byte to its descriptor 8, take the foreground, and close the pipe
that is its descriptor 9. Print whether this process still has the foreground when the program has ended.
"""

import os
import signal
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
read, write = os.pipe()
said, say = os.pipe()
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
    os.dup2(read, 9)
    os.dup2(say, 8)
    os.execv(sys.argv[1], sys.argv[1:])
os.read(said, 1)
os.tcsetpgrp(0, os.getpgrp())
os.close(write)
os.waitpid(child, 0)
os.write(1, b"still mine %s\n" % str(os.tcgetpgrp(0) == os.getpgrp()).encode())

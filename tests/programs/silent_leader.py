"""Lead the session and start argv[3:] in the background. When the program has written to the FIFO argv[1], give it the
terminal without a signal, and write to the FIFO argv[2].
"""

import os
import signal
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
    os.execv(sys.argv[3], sys.argv[3:])
open(sys.argv[1]).read()
os.tcsetpgrp(0, child)
open(sys.argv[2], "w").write("go\n")
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, os.WUNTRACED)[1]))

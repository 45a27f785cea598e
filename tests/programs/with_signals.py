"""Execute a program with signals ignored and blocked. argv: the ignored signals, separated by spaces; the blocked ones;
the program and its arguments.
"""

import os
import signal
import sys

ignored, blocked = ({int(number) for number in words.split()} for words in sys.argv[1:3])
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
os.execv(sys.argv[3], sys.argv[3:])

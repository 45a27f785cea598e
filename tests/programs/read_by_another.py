"""Start another process of this group that reads from the terminal; execute argv[2:] at a byte from the descriptor
argv[1].
"""

import os
import sys

reader = os.fork()
if reader == 0:
    os.read(0, 1)
    os._exit(0)
os.write(1, b"%d reads\n" % reader)
os.read(int(sys.argv[1]), 1)
os.execvp(sys.argv[2], sys.argv[2:])

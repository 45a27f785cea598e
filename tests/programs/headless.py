"""Leave a process whose first thread has ended: /proc shows it as a zombie, but another thread runs. argv[1]: the
number of exit(2).
"""

import ctypes
import os
import sys
import threading
import time

if os.fork() == 0:
    os.close(0)
    threading.Thread(target=time.sleep, args=(1000,)).start()
    ctypes.CDLL(None).syscall(int(sys.argv[1]), 0)
os.write(1, b"ready\n")
os.read(0, 1)
os._exit(40)

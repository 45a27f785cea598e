"""Make an orphan whose first thread ends alone, as by pthread_exit(3), while its second waits for a byte from the
descriptor argv[1]. Then make a plain orphan for each byte on stdin. argv[2]: the number of exit(2).
"""

import ctypes
import os
import sys
import threading

def wait_for_byte():
    os.read(int(sys.argv[1]), 1)
    os._exit(0)

def orphan(act):
    if os.fork() == 0:
        if os.fork() == 0:
            act()
        os._exit(0)
    os.wait()

def end_first_thread():
    threading.Thread(target=wait_for_byte).start()
    ctypes.CDLL(None).syscall(int(sys.argv[2]), 0)

orphan(end_first_thread)
while True:
    os.write(1, b"made\n")
    if not os.read(0, 1):
        os._exit(57)
    orphan(lambda: None)

"""Make a child that leaves argv[1] zombies for each byte on stdin, and execute the pause, argv[2:]."""

import os
import sys

if os.fork() == 0:
    while os.read(0, 1):
        alive, hold = os.pipe()
        if os.fork() == 0:
            for _ in range(int(sys.argv[1])):
                os.fork() or os._exit(0)
            os._exit(0)
        os.wait()
        os.close(hold)
        os.read(alive, 1)
        os.write(1, b"done\n")
    os._exit(0)
os.execv(sys.argv[2], sys.argv[2:])

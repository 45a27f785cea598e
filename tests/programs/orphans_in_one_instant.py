"""Leave argv[1] orphans that all exit in one instant, and print the PID of their new parent, which is PID 1. The
orphans may exit only after all of their parents have been reaped, so that each has been adopted.
"""

import os
import sys

may_exit, hold = os.pipe()
answers, answer = os.pipe()
for _ in range(int(sys.argv[1])):
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            os.close(hold)
            os.read(may_exit, 1)
            os.write(answer, b"%d\n" % os.getppid())
        os._exit(0)
    os.waitpid(parent, 0)
os.close(hold)
os.close(answer)
with open(answers) as file:
    print("adopted by", *sorted(set(file.read().split())), flush=True)

"""Lead the session and keep the foreground; run argv in its own process group, and so in the background."""

import os
import sys

child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
os.waitpid(child, 0)
os.write(1, b"leader foreground %s\n" % str(os.tcgetpgrp(0) == os.getpgrp()).encode())

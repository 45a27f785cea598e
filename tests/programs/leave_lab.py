"""Make a lab with a running container, print the lab's folder, and die by SIGKILL."""

import os
import shutil
import signal
import sys

sys.path.insert(0, sys.argv[1])
from support.containers import Lab
lab = Lab().__enter__()
root = lab.folder / "files" / "root"
root.mkdir()
shutil.copy(sys.argv[2], root / "pause")
lab.start("--rootfs", root, "/pause")
print(lab.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)

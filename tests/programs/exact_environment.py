"""Execute a program with exactly the given entries in its environment, execve(2). It needs its own mount namespace.

argv: how to change the mounts; the entries in hexadecimal, separated by commas; the program and its arguments.
"""

import ctypes
import os
import sys

MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096  # mount(2)

libc = ctypes.CDLL(None, use_errno=True)
how, entries, *command = sys.argv[1:]
failed = 0
if how == "empty /proc":
    failed = libc.mount(b"none", b"/proc", b"tmpfs", 0, None)
elif how == "read-only root":
    failed = libc.mount(None, b"/", None, MS_REMOUNT | MS_BIND | MS_RDONLY, None)
if failed:
    sys.exit(f"{how}: mount: {os.strerror(ctypes.get_errno())}")
argv = [os.fsencode(argument) for argument in command]
block = [bytes.fromhex(entry) for entry in entries.split(",")] if entries else []
pointers = [(ctypes.c_char_p * (len(texts) + 1))(*texts, None) for texts in (argv, block)]
libc.execve(argv[0], *pointers)
sys.exit(f"{command[0]}: {os.strerror(ctypes.get_errno())}")

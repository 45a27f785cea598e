"""Install a seccomp filter, seccomp(2), and execute argv[2:]. argv[1] lists numbers of system calls, which fail with
EPERM. After "=" they return 0 and do nothing. After "+" every other system call kills the process.
"""

import ctypes
import os
import struct
import sys

words, argv = sys.argv[1].split(), sys.argv[2:]
deny, kill, allow = 0x00050001, 0x80000000, 0x7fff0000  # SECCOMP_RET_ERRNO, _KILL_PROCESS, _ALLOW
only = words[0] == "+"
if words[0] == "=":
    deny ^= 1
numbers = [int(word) for word in words if word.isdigit()]
program = [(0x20, 0, 0, 0)]  # the number of the call
program += [(0x15, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
program += [(0x06, 0, 0, kill if only else allow), (0x06, 0, 0, allow if only else deny)]
code = b"".join(struct.pack("HBBI", *line) for line in program)
buffer = ctypes.create_string_buffer(code)
filter = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
if libc.prctl(22, 2, ctypes.c_char_p(filter), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    sys.exit(f"no seccomp: {os.strerror(ctypes.get_errno())}")
os.execv(argv[0], argv)

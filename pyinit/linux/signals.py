"""Which signals are waited for, and the signal state that pyinit was started with.

The built-in `_signal` serves, not `signal`: that one builds enums at import, 3 ms and 0.9 MB.
"""

from __future__ import annotations

import _signal

# What pyinit blocks and waits for: everything that can be blocked. valid_signals() leaves out the C library's own (32
# and 33 in glibc), which cannot be blocked from here. SIGSEGV, SIGABRT and the other fault signals, if they were sent,
# are forwarded as any other; a fault of pyinit itself kills it all the same, as the kernel then unblocks and resets
# the signal, signal(7). A tuple: it is walked again for each wait.
WAITED = tuple(sorted(_signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}))

SIG_DFL, SIG_IGN = 0, 1  # what _signal.getsignal() returns for them: plain numbers, without signal.Handlers


def block_signals() -> set[int]:
    """Block every signal that pyinit waits for; return those that were blocked before."""
    return _signal.pthread_sigmask(_signal.SIG_BLOCK, WAITED)


class EntryState:
    """The mask and the dispositions that pyinit was started with, and the main child is to start with."""

    __slots__ = ("unblock", "sigchld_ignored")

    def __init__(self, entry_mask: set[int]) -> None:
        """Save the state and undo what CPython has made of it; the signals must be blocked already.

        entry_mask is what was blocked before that.
        """
        # Unblock what was not blocked, and do not set the old mask: no set of CPython can hold 32 and 33, which are
        # left as they are.
        self.unblock = tuple(set(WAITED) - entry_mask)
        self.sigchld_ignored = _signal.getsignal(_signal.SIGCHLD) == SIG_IGN
        if self.sigchld_ignored:
            # waitpid(2): a process that ignores SIGCHLD never sees a child of its own, and would wait for ever.
            _signal.signal(_signal.SIGCHLD, SIG_DFL)
        # CPython has set SIGPIPE and SIGXFSZ to ignored, which execve(2) hands down, and hides what they were.
        _signal.signal(_signal.SIGPIPE, SIG_DFL)
        _signal.signal(_signal.SIGXFSZ, SIG_DFL)
        # It catches SIGINT unless that was ignored: a pending one would raise KeyboardInterrupt in the main child.
        if _signal.getsignal(_signal.SIGINT) != SIG_IGN:
            _signal.signal(_signal.SIGINT, SIG_DFL)

    def restore(self) -> None:
        """In the main child, just before execve(2): give it the state back."""
        if self.sigchld_ignored:
            _signal.signal(_signal.SIGCHLD, SIG_IGN)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, self.unblock)

    def reset(self) -> None:
        """In the main child, instead of restore(): block and ignore no signal."""
        for number in _signal.valid_signals():
            if _signal.getsignal(number) == SIG_IGN:
                _signal.signal(number, SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, _signal.valid_signals())

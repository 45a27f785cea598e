"""Which signals are waited for, and the signal state that pyinit was started with.

This uses the built-in `_signal`, not `signal`, which builds enums at import: 3 ms and 0.9 MB.
"""

from __future__ import annotations

import _signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .note import Note

# The signals that pyinit blocks and waits for: all that can be blocked. valid_signals() leaves out those of the C
# library (32 and 33 in glibc), which cannot be blocked from here. If a process sends SIGSEGV, SIGABRT or another fault
# signal, pyinit forwards it as any other. A fault of pyinit itself kills it all the same, because the kernel then
# unblocks and resets the signal, signal(7). This is a tuple, because each wait walks through it again.
WAITED = tuple(sorted(_signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}))

SIG_DFL, SIG_IGN = 0, 1  # what _signal.getsignal() returns for them: plain numbers, without signal.Handlers


def block_signals() -> set[int]:
    """Block every signal that pyinit waits for; return those that were blocked before."""
    return _signal.pthread_sigmask(_signal.SIG_BLOCK, WAITED)


class EntryState:
    """The signal state that pyinit was started with, and that the main child starts with."""

    __slots__ = ("unblock", "ignored", "note")

    def __init__(self, entry_mask: set[int], note: Optional[Note] = None) -> None:
        """Save the state and undo what CPython has made of it; the signals must be blocked already.

        entry_mask has the signals that were blocked before that. Without a note, the old state of SIGPIPE and SIGXFSZ
        is unknown: CPython has set both to ignored, which the main child would inherit through execve(2).
        """
        # restore() unblocks what was not blocked, and does not set the old mask: no set of CPython can hold 32 and 33,
        # which stay as they are.
        self.unblock = tuple(set(WAITED) - entry_mask)
        self.note = note
        self.ignored = note.ignored if note else tuple(number for number in (_signal.SIGINT, _signal.SIGCHLD)
                                                       if _signal.getsignal(number) == SIG_IGN)
        if _signal.SIGCHLD in self.ignored:
            # waitpid(2): a process that ignores SIGCHLD never sees a child of its own, and would wait for ever.
            _signal.signal(_signal.SIGCHLD, SIG_DFL)
        _signal.signal(_signal.SIGPIPE, SIG_DFL)
        _signal.signal(_signal.SIGXFSZ, SIG_DFL)
        # CPython catches SIGINT unless that was ignored: a pending one would raise KeyboardInterrupt in the main child.
        if _signal.SIGINT not in self.ignored:
            _signal.signal(_signal.SIGINT, SIG_DFL)

    def restore(self) -> None:
        """In the main child, just before execve(2): restore the state."""
        for number in self.ignored:
            _signal.signal(number, SIG_IGN)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, self.unblock)

    def reset(self) -> None:
        """In the main child, instead of restore(): block and ignore no signal."""
        for number in _signal.valid_signals():
            if _signal.getsignal(number) == SIG_IGN:
                _signal.signal(number, SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, _signal.valid_signals())

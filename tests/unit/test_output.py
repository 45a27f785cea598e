"""A message is written where the kernel or CPython has no write that does not wait; a full pipe still gets none."""

from __future__ import annotations

import os

import pytest

from pyinit.linux import output

REFUSALS = [OSError(38, "Function not implemented"), AttributeError("pwritev"), NotImplementedError("pwritev: flags")]


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
def test_no_pwritev2(refusal: BaseException, full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyinit asks poll(2) instead. This needs a descriptor that cannot be opened again, as without /proc."""
    def refuse(*_: object) -> int:
        raise refusal

    monkeypatch.setattr(output.posix, "pwritev", refuse)
    monkeypatch.setattr(output, "write_reopened", lambda descriptor, content: False)
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = 0
    try:
        while full:
            before += os.write(write, bytes(4096))
    except BlockingIOError:
        pass
    os.set_blocking(write, True)
    output.write_line("told", write)
    os.close(write)
    with open(read, "rb") as reader:
        assert reader.read()[before:] == (b"" if full else b"told\n")

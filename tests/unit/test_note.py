"""The note of a launcher's stub is read back as it was written, and other texts are refused; as tables."""

from __future__ import annotations

import signal

import pytest

from pyinit.lean import stub
from pyinit.linux.note import DISPOSITIONS, SIZE, read_note


def write(mask: int = 0, bits: int = 0, locale: bytes | None = None, launcher: bytes | None = None, count: int = 0,
          behind: int = 0, path: bytes = b"/sbin/pyinit") -> str:
    """Return a note as lean/stub.py describes it."""
    numbers = (mask, 8), *((value, 4) for value in (
        bits, 0 if locale is None else len(locale) + 1, 0 if launcher is None else len(launcher) + 1,
        8 * (count + 1), 8 * (behind + 1)))
    head = b"".join(number.to_bytes(size, "little") for number, size in numbers)
    return f"tini:{head.hex()}" + ((locale or b"") + (launcher or b"") + path).decode("utf-8", "surrogateescape")


def test_the_writer_has_the_same_fields() -> None:
    assert SIZE == 2 * stub.NOTED and DISPOSITIONS == stub.DISPOSITIONS


@pytest.mark.parametrize("locale", [None, b"", b"C", b"C.UTF-8", "é".encode(), b"\xff\n:"])
@pytest.mark.parametrize("launcher", [None, b"", b"/venv/python", b"\xc3"])
@pytest.mark.parametrize("path", [b"x", b"/a:b/pyinit", b"/\xc3\xff/\xa9"])
def test_texts_come_back(locale: bytes | None, launcher: bytes | None, path: bytes) -> None:
    note = read_note(write(locale=locale, launcher=launcher, path=path, count=300, behind=7))
    assert (note.name, note.locale, note.launcher, note.count, note.behind) == ("tini", locale, launcher, 300, 7)
    assert note.path.encode("utf-8", "surrogateescape") == path


@pytest.mark.parametrize("bits, ignored", [
    (0, ()), (1, (signal.SIGPIPE,)), (2, (signal.SIGXFSZ,)), (4, (signal.SIGINT,)), (8, (signal.SIGCHLD,)),
    (15, (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD))])
def test_dispositions(bits: int, ignored: tuple[int, ...]) -> None:
    assert read_note(write(bits=bits)).ignored == ignored


@pytest.mark.parametrize("mask, blocked", [(0, set()), (1, {1}), (1 << 63, {64}), (1 << 31, set()),
                                           (1 << 14 | 1 << 33, {15, 34})])
def test_mask(mask: int, blocked: set[int]) -> None:
    """Only the given signals are looked up, so bit 31, for signal 32, is ignored."""
    assert read_note(write(mask)).blocked((1, 2, 15, 34, 64)) == blocked


@pytest.mark.parametrize("text", ["", "-s", "tini:", "tini:00", "tini" + "0" * SIZE, f"tini:{'0' * (SIZE - 1)}/",
                                  f"tini:{'x' * SIZE}/"])
def test_what_is_no_note(text: str) -> None:
    with pytest.raises(ValueError):
        read_note(text)

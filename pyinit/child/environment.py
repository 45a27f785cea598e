"""Puts back a variable that CPython has removed from the environment; loaded if it has."""

from __future__ import annotations

import posix


def restore_removed(given: list[bytes], name: bytes) -> None:
    """Give the C library's block the variable `name` again. given: the entries that execve(2) was given.

    putenv(3) appends. So what was behind the variable is removed and appended once more after it, unless that would
    lose something: an entry without `=`, one without a name, or one of two of the same name, which can only be
    removed together, unsetenv(3). Then the variable is the last one. Of doubles of the variable itself the first comes
    back, which is the one that getenv(3) finds.
    """
    entries = [entry.partition(b"=") for entry in given]
    place = next((number for number, (key, sign, _) in enumerate(entries) if key == name and sign), None)
    if place is None:  # the text was part of another entry
        return
    posix.putenv(name, entries[place][2])
    following = [entry for entry in entries[place:] if entry[0] != name]
    count: dict[bytes, int] = {}
    for key, _, _ in entries:
        count[key] = count.get(key, 0) + 1
    if all(key and sign and count[key] == 1 for key, sign, _ in following):
        for key, _, value in following:
            posix.unsetenv(key)
            posix.putenv(key, value)

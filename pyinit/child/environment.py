"""Put back a variable that CPython has removed from the environment; loaded if it has done so."""

from __future__ import annotations

import posix

from ..linux.files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..linux.note import Note


def recover_entries(note: Note, name: bytes) -> list[bytes]:
    """Return the entries that execve(2) was given, with the variable `name`, whose value and place the note has.

    Without /proc, make them from what CPython has read, which leaves out duplicates and entries without `=`. If there
    were any, the place of the variable is unknown: return it as the only entry.
    """
    own = b"%s=%s" % (name, note.launcher)
    try:
        return read_file("/proc/self/environ").split(b"\0")[:-1]
    except OSError:
        values = {**posix.environ, b"LC_CTYPE": note.locale}
        entries = [b"%s=%s" % (key, values[key]) for key in posix.environ if values[key] is not None]
    if len(entries) != note.count - 1:
        return [own]
    entries.insert(len(entries) - note.behind, own)
    return entries


def restore_removed(given: list[bytes], name: bytes) -> None:
    """Put the variable `name` back into the C library's block. given: the entries that execve(2) was given.

    putenv(3) appends, so the entries behind the variable are removed and appended again after it. If that would lose
    one of them, the variable stays the last one: an entry without `=`, one without a name, or a duplicate, because
    unsetenv(3) removes all entries of a name. Of duplicates of the variable itself only the first is put back, which
    is the one that getenv(3) finds.
    """
    entries = [entry.partition(b"=") for entry in given]
    place = next((number for number, (key, sign, _) in enumerate(entries) if key == name and sign), None)
    if place is None:  # its name was only part of another entry
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

"""Read the kernel's trace ring buffer in its binary form, which has nanoseconds; the text form has microseconds.

The kernel's Documentation/trace/ftrace.rst (trace_pipe_raw) describes it, and so do events/header_page and
events/header_event in tracefs. This module is for little-endian machines only: on others, the bit fields of an event's
header are in the reverse order.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from collections.abc import Iterator, Mapping

MISSED_EVENTS = 1 << 31  # in a page's commit field: events were lost before this page
LENGTH_MASK = (1 << 20) - 1
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31  # type_len; below that, the event's length in words
TIME_SHIFT = 27
TOP_BITS = 0xF8 << 56  # an absolute time stamp has 59 bits; the top 5 come from the page


@dataclass
class Event:
    """One trace event. time: nanoseconds of the trace clock; pid: the global PID of the task in which it happened."""

    time: int
    pid: int
    name: str
    fields: dict[str, int]


class Format:
    """The layout of one kind of event, from the text of its `format` file. wanted: the fields to read."""

    def __init__(self, name: str, text: str, wanted: tuple[str, ...]) -> None:
        self.name = name
        self.number = int(re.findall(r"^ID: (\d+)", text, re.MULTILINE)[0])
        self.fields = []
        for declaration, offset, size, signed in re.findall(
                r"field:([^;]+);\s*offset:(\d+);\s*size:(\d+);\s*signed:(\d);", text):
            field = declaration.split("[")[0].split()[-1]
            if field in wanted:
                code = {1: "b", 2: "h", 4: "i", 8: "q"}[int(size)]
                self.fields.append((field, struct.Struct("<" + (code if signed == "1" else code.upper())), int(offset)))

    def read(self, time: int, record: bytes) -> Event:
        """Return the event of a record of this kind."""
        return Event(time, int.from_bytes(record[4:8], "little", signed=True), self.name,
                     {field: layout.unpack_from(record, offset)[0] for field, layout, offset in self.fields})


def read_page(page: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (time in nanoseconds, record) of each event in a page of the ring buffer."""
    time, commit = struct.unpack_from("<QQ", page)
    end = min(16 + (commit & LENGTH_MASK), len(page))
    position = 16
    while position + 4 <= end:
        header = int.from_bytes(page[position:position + 4], "little")
        kind, delta = header & 31, header >> 5
        position += 4
        if kind in (TIME_EXTEND, TIME_STAMP):
            wide = (int.from_bytes(page[position:position + 4], "little") << TIME_SHIFT) + delta
            time = time + wide if kind == TIME_EXTEND else wide | time & TOP_BITS
            position += 4
            continue
        if kind == PADDING and delta == 0:
            return  # the rest of the page is empty
        time += delta
        if kind in (0, PADDING):
            length = int.from_bytes(page[position:position + 4], "little")
            record = page[position + 4:position + length]
        else:
            length = kind * 4
            record = page[position:position + length]
        if kind != PADDING:
            yield time, record
        position += length


def missed(page: bytes) -> bool:
    """Return whether the kernel lost events before this page."""
    return bool(struct.unpack_from("<Q", page, 8)[0] & MISSED_EVENTS)


def decode(pages: Iterator[bytes], formats: Mapping[int, Format]) -> Iterator[Event]:
    """Yield the events of known kinds in the pages of one CPU, in their order."""
    for page in pages:
        for time, record in read_page(page):
            form = formats.get(int.from_bytes(record[:2], "little"))
            if form:
                yield form.read(time, record)

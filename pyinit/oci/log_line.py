"""Format a line of a runtime's log as runc's logger does, in text or in JSON; pure."""

from __future__ import annotations

from _json import encode_basestring_ascii as quote


def format_line(level: str, message: str, time: str, json: bool) -> str:
    """Return a line with its newline. time: in the format of RFC 3339."""
    if json:
        return f'{{"level":{quote(level)},"msg":{quote(message)},"time":{quote(time)}}}\n'
    return f"time={quote(time)} level={level} msg={quote(message)}\n"

"""Edit config.json: add the init's mount, and put the init in front of the program; pure, text to text."""

from __future__ import annotations

from _json import encode_basestring_ascii as quote

from .decide import TARGET
from .document import Value, read_object
from .odd import Odd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

# The mount comes last, so that no other one hides it. It has nosuid and nodev, because an init needs neither.
MOUNT = '{"destination":%s,"type":"bind","source":%s,"options":["bind","ro","nosuid","nodev"]}'


def put_init(text: str, config: Mapping[str, Value], init: str) -> str:
    """Return the text of config.json with the init in it.

    config: its members, of which `process.args` and `mounts` are lists that are not empty. init: its path on the host.
    Raises Odd.
    """
    try:
        init.encode()
    except UnicodeEncodeError:
        raise Odd(f"{init!r}: expected a path in UTF-8, as JSON is") from None
    process, _ = read_object(text, config["process"].start, ("args",))
    arguments, mounts = process["args"].start + 1, find_end(text, config["mounts"])
    insertions = sorted(((arguments, f"{quote(TARGET)},\"--\","),
                         (mounts, "," + MOUNT % (quote(TARGET), quote(init)))), reverse=True)
    for position, addition in insertions:
        text = text[:position] + addition + text[position:]
    return text


def find_end(text: str, value: Value) -> int:
    """Return the position behind the last element of a list. Raises Odd if it is empty."""
    if not value.value:
        raise Odd("config.json: mounts is empty")
    position = value.end - 1
    while text[position - 1] in " \t\n\r":
        position -= 1
    return position

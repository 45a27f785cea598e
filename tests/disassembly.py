"""What binutils makes of machine code: the judge of the encoders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support import DEADLINE

# binutils' tools for each machine: the prefix of their names on any other machine, and how objdump is asked.
TOOLS = {"x86_64": ("x86_64-linux-gnu-", ["-m", "i386:x86-64", "-M", "intel"]),
         "aarch64": ("aarch64-linux-gnu-", ["-m", "aarch64"])}


def find_tool(machine: str, name: str) -> str:
    """binutils' tool that knows a machine."""
    tool = name if os.uname().machine == machine else TOOLS[machine][0] + name
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    return tool


def disassemble(machine: str, code: bytes, address: int, folder: Path) -> list[tuple[int, bytes, str]]:
    """What objdump makes of instructions from an address on: the address, the bytes, the mnemonic."""
    path = folder / "code"
    path.write_bytes(code)
    text = subprocess.run([find_tool(machine, "objdump"), "-D", "-b", "binary", *TOOLS[machine][1], "-w",
                           f"--adjust-vma={address:#x}", path], capture_output=True, text=True, check=True,
                          timeout=DEADLINE).stdout
    found = []
    for line in text.splitlines():
        parts = re.match(r" *([0-9a-f]+):\t([0-9a-f ]+)\t(.*)$", line)
        if parts:
            # A word is shown as a number, whose lowest byte comes first in the file.
            raw = b"".join(bytes.fromhex(word)[::-1] for word in parts[2].split())
            found.append((int(parts[1], 16), raw, normalise(parts[3])))
    return found


def normalise(mnemonic: str) -> str:
    """A mnemonic without objdump's comments, with plain spaces, and numbers as decimals of 64 bits without a sign."""
    text = mnemonic.lower().partition("//")[0].replace("#", "")
    text = re.sub(r"(?<![\w\]])-?\b(?:0x[0-9a-f]+|\d+)\b", lambda match: str(int(match[0], 0) % (1 << 64)), text)
    return re.sub(r"\s*,\s*", ",", " ".join(text.split()))

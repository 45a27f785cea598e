"""Disassemble machine code with binutils, to check the encoders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.settings import DEADLINE

# binutils' tools for each machine: the prefix of their names on any other machine, and objdump's options.
TOOLS = {"x86_64": ("x86_64-linux-gnu-", ["-m", "i386:x86-64", "-M", "intel"]),
         "aarch64": ("aarch64-linux-gnu-", ["-m", "aarch64"])}


def find_tool(machine: str, name: str) -> str:
    """Return the name of binutils' tool for a machine; skip the test if it is not installed."""
    tool = name if os.uname().machine == machine else TOOLS[machine][0] + name
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    return tool


def disassemble(machine: str, code: bytes, address: int, folder: Path) -> list[tuple[int, bytes, str]]:
    """Disassemble instructions that begin at an address; return the address, bytes and mnemonic of each."""
    path = folder / "code"
    path.write_bytes(code)
    text = subprocess.run([find_tool(machine, "objdump"), "-D", "-b", "binary", *TOOLS[machine][1], "-w",
                           f"--adjust-vma={address:#x}", path], capture_output=True, text=True, check=True,
                          timeout=DEADLINE).stdout
    found = []
    for line in text.splitlines():
        parts = re.match(r" *([0-9a-f]+):\t([0-9a-f ]+)\t(.*)$", line)
        if parts:
            # objdump prints a word as a number, whose lowest byte comes first in the file.
            raw = b"".join(bytes.fromhex(word)[::-1] for word in parts[2].split())
            found.append((int(parts[1], 16), raw, normalise(parts[3])))
    return found


def normalise(mnemonic: str) -> str:
    """Remove objdump's comments and extra spaces from a mnemonic, and write numbers as unsigned 64-bit decimals."""
    text = mnemonic.lower().partition("//")[0].replace("#", "")
    text = re.sub(r"(?<![\w\]])-?\b(?:0x[0-9a-f]+|\d+)\b", lambda match: str(int(match[0], 0) % (1 << 64)), text)
    return re.sub(r"\s*,\s*", ",", " ".join(text.split()))

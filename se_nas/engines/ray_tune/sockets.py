"""Where this process and those below it listen, as Linux says. On other systems nothing is known."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

LISTENING = "0A"


def open_to_others(process: int) -> set[str]:
    """Addresses beyond loopback on which a process, or one that it began, takes connections (TCP)."""
    if not Path("/proc/net/tcp").exists():
        return set()
    sockets = _listening()
    held = {sockets[inode] for each in (process, *_below(process)) for inode in _inodes(each) if inode in sockets}
    return {str(address) for address in held if not _is_loopback(address)}


def _is_loopback(address: IPv4Address | IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _listening() -> dict[str, IPv4Address | IPv6Address]:
    """Inode of each listening socket -> its address."""
    found: dict[str, IPv4Address | IPv6Address] = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING:
                    found[fields[9]] = _address(fields[1].partition(":")[0])
    return found


def _address(text: str) -> IPv4Address | IPv6Address:
    """From the kernel's form: 32-bit words in the machine's order, in hexadecimal."""
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return ip_address(socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed))


def _below(process: int) -> list[int]:
    """All processes that it began, and those that these began."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry))
    found = list(parents.get(process, []))
    for each in found:
        found += parents.get(each, [])
    return found


def _inodes(process: int) -> list[str]:
    """Inodes of a process's sockets."""
    links: list[str] = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                links.append(os.readlink(f"/proc/{process}/fd/{name}"))
    return [link[8:-1] for link in links if link.startswith("socket:[")]

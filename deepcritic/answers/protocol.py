"""Protocol of the client, the forkserver and the workers: fixed-size requests, and messages with a length prefix."""

from __future__ import annotations

import socket
import struct
from typing import Final

REQUEST: Final = struct.Struct("!cI")  # to the forkserver: b"F" (fork; sent with a socket) or b"K" (kill and reap this pid)
REPLY: Final = struct.Struct("!Id")  # from it: the new pid and 0, or the wait status and the total processor seconds
READY: Final = b"ready"
_LENGTH: Final = struct.Struct("!I")


def send(channel: socket.socket, data: bytes) -> None:
    channel.sendall(_LENGTH.pack(len(data)) + data)


def receive(channel: socket.socket) -> bytes:
    """One message; empty if the other side has closed."""
    head = exactly(channel, _LENGTH.size)
    return exactly(channel, _LENGTH.unpack(head)[0]) if head else b""


def exactly(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            more = channel.recv(size - len(data))
        except ConnectionError:
            return b""
        if not more:
            return b""
        data += more
    return data

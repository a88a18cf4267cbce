"""A server of OpenAI's protocol that answers at once with the same text, as fast as asyncio can: python instant_server.py [PORT]

Prints its port on the first line and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys

CARDS = json.dumps({"object": "list", "data": [{"id": "instant", "object": "model"}]}).encode()
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Every step holds. \\boxed{-1}"}}
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
ANSWER = json.dumps({"id": "x", "object": "chat.completion", "model": "instant", "choices": [CHOICE], "usage": USAGE}).encode()


def whole(content: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Instant(asyncio.Protocol):
    """Serve one connection, with sequential requests."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._seen = transport, b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            head = self._seen[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._seen) < end + 4 + length:
                return
            self._seen = self._seen[end + 4 + length :]
            self._transport.write(_CARDS if head.startswith(b"get") else _ANSWER)


_CARDS, _ANSWER = whole(CARDS), whole(ANSWER)


async def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())

"""Finds other servers on this machine, as a hint if nothing listens on the given port.

>>> asyncio.run(listening(["http://host.invalid:8000/v1"]))
''
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress

from yarl import URL

PORTS = {8000: "vLLM", 30000: "SGLang", 8080: "llama.cpp, TGI", 11434: "Ollama", 1234: "LM Studio", 4000: "LiteLLM"}
"""The default ports of servers."""
SECONDS = 0.3


async def listening(urls: list[str]) -> str:
    """Describes what listens on the default ports of this machine, if `urls` name other ports of it; empty if nothing does."""
    asked = {(url.host or "", url.port) for url in map(URL, urls) if _is_here(url.host or "")}
    if not asked:
        return ""
    host = min(asked)[0]
    others = [port for port in PORTS if (host, port) not in asked]
    found = await asyncio.gather(*(_open(host, port) for port in others))
    there = [port for port, is_open in zip(others, found, strict=True) if is_open]
    return ", ".join(f"port {port} (usually {PORTS[port]}) is open" for port in there)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _open(host: str, port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return True
    return False

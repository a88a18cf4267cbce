"""Response bodies (limited in size, with the key removed) and the meaning of connection errors."""

from __future__ import annotations

import re
import socket

import aiohttp

from deepcritic.errors import InputError

MOST_BYTES = 16 << 20
"""The size of the largest answer that is read."""
LONG_SECRET = 12
"""Keys of at least this many characters are removed from replies too, not only from errors."""


class Final(ValueError):
    """An unusable answer that a retry would not change."""


async def body_of(response: aiohttp.ClientResponse, secret: str) -> bytes:
    """The body, without the secret. Raises `Final` if it is too large, and possibly endless."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            raise Final(f"the answer is larger than {MOST_BYTES >> 20} MiB")
    content = b"".join(chunks)
    if secret and (response.status != 200 or len(secret) >= LONG_SECRET):  # a reply may contain "EMPTY"
        return without(secret, content)
    return content


def without(secret: str, content: bytes) -> bytes:
    """`content` with the secret redacted. A short secret is only a placeholder for servers without keys. It is removed only
    as a separate word, so that other words stay intact.

    >>> without("x", b"max_tokens is unknown; key 'x'")
    b"max_tokens is unknown; key '[key]'"
    """
    for written in {secret, secret.replace("/", "\\/")}:
        if len(secret) >= LONG_SECRET:
            content = content.replace(written.encode(), b"[key]")
        else:
            content = re.sub(rb"(?<![\w-])" + re.escape(written.encode()) + rb"(?![\w-])", b"[key]", content)
    return content


def permanent(error: BaseException, *, at_start: bool = False) -> bool:
    """Whether waiting cannot help: an invalid certificate, a port without TLS, or, at the start, an unknown host."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError) or "WRONG_VERSION_NUMBER" in str(error):
        return True
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    return at_start and isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME


def cannot_be_asked(problem: str) -> InputError:
    """The error if no server can be reached, for a reason that waiting will not change."""
    remedy = "set SSL_CERT_FILE to the certificate authority's file" if "certificate" in problem else "check the address"
    return InputError(problem, field="sampler.urls", remedy=remedy)


def plain(error: BaseException) -> str:
    """A short description of a connection error."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"certificate rejected: {getattr(error.certificate_error, 'verify_message', error.certificate_error)}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if "WRONG_VERSION_NUMBER" in str(error):
        return "the server does not use TLS; use http:// in its address"
    said = getattr(cause, "strerror", None)
    return f"{type(error).__name__}: {said}" if said else str(error) if isinstance(error, ValueError) else type(error).__name__

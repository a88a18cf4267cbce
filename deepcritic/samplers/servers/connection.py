"""What goes over one connection: a body of limited size without the key in it, and what an error of the connection means."""

from __future__ import annotations

import re
import socket

import aiohttp

from deepcritic.errors import InputError

MOST_BYTES = 16 << 20
"""The largest answer that is read."""
LONG_SECRET = 12
"""Characters from which a key is taken out of replies, too."""


class Final(ValueError):
    """An answer that cannot be used, and that another try would not change."""


async def body_of(response: aiohttp.ClientResponse, secret: str) -> bytes:
    """The body, without the secret. Raises `Final` for one that is too large, which may have no end."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            raise Final(f"it is larger than {MOST_BYTES >> 20} MiB")
    content = b"".join(chunks)
    if secret and (response.status != 200 or len(secret) >= LONG_SECRET):  # a reply may well say "EMPTY"
        return without(secret, content)
    return content


def without(secret: str, content: bytes) -> bytes:
    """`content` with the secret blotted out. A short one is no secret but what servers without keys are given, and goes where it
    stands alone: the other letters of a message stay.

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
    """Whether waiting will not help: a certificate that is not accepted, a port without TLS, and at the start an unknown host."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError) or "WRONG_VERSION_NUMBER" in str(error):
        return True
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    return at_start and isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME


def cannot_be_asked(problem: str) -> InputError:
    """The error for servers of which none can be asked, for a reason that waiting will not change."""
    remedy = "set SSL_CERT_FILE to the certificate of its authority" if "certificate" in problem else "check the address"
    return InputError(problem, field="sampler.urls", remedy=remedy)


def plain(error: BaseException) -> str:
    """What happened to a connection, in a few words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {getattr(error.certificate_error, 'verify_message', error.certificate_error)}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if "WRONG_VERSION_NUMBER" in str(error):
        return "it does not speak TLS: use http:// in its address"
    said = getattr(cause, "strerror", None)
    return f"{type(error).__name__}: {said}" if said else str(error) if isinstance(error, ValueError) else type(error).__name__

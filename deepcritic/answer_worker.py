"""The process in which math-verify runs. Nobody imports this file: `deepcritic.answers` starts it as a script.

A nursery loads math-verify once and forks a worker whenever it is asked to, in milliseconds. A worker compares one pair after
the other; the kernel's alarm ends it at a pair's deadline, whatever it is doing, and a limit on memory holds throughout.

Data is never evaluated as code: sympy's `parse_expr`, which does that, is taken out, and a worker may neither start a program nor
write a file nor open a connection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import logging
import os
import re
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

REQUEST: Final = struct.Struct("!cI")  # b"F" (fork; a socket comes along) or b"K" (kill and reap this pid)
REPLY: Final = struct.Struct("!I")  # the pid, or the wait status
LENGTH: Final = struct.Struct("!I")
READY: Final = b"ready"
_WARM_UP: Final = (
    ("$x+\\frac{1}{2}$", "$\\frac{2x+1}{2}$"),
    ("$\\sin^2(x)+\\cos^2(x)$", "$\\sqrt[3]{1} + e^{x}$"),
    ("$x^2+y^2=1$", "$2x^2+2y^2=2$"),
    ("$x \\in (1,2] \\cup [3,\\infty)$", "$1 < x \\leq 2$"),
    ("$\\begin{pmatrix}1 & 2\\end{pmatrix}$", "$\\{1, 2\\}$"),
    ("1/2 + 1", "$\\sum_{k=1}^{n} k^2 + \\int x^2 dx$"),
)
_TASKS: Final = 2000  # after so many pairs a worker makes room for a fresh one, so its caches stay small
_BITS: Final = 1 << 17  # powers and factorials beyond this size are not worked out
_MANY: Final = 10_000
_EXPANDED: Final = 13  # binary logarithm of the terms that a power of a sum may expand to, roughly
_CALCULUS: Final = 14  # the same of the numbers within integrals, sums, limits, factorials
_NUMERAL: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_FORBIDDEN: Final = re.compile(
    r"os\.(system|exec|fork|forkpty|posix_spawn|spawn|remove|rename|rmdir|mkdir|chmod|kill|symlink|link)"
    r"|subprocess\.Popen|socket\.(connect|bind|sendto)|ctypes\.dlopen|shutil\..*"
)


class Undecided(BaseException):
    """Not an Exception, so that no `except Exception` in between turns it into "not equal"."""


def main(descriptor: int) -> None:
    """Be the nursery: `descriptor` is a socket to the process that asks."""
    control = socket.socket(fileno=descriptor)
    setup = json.loads(receive(control))
    sys.path[:] = setup["path"]
    sys.dont_write_bytecode = True
    try:
        compare = load()
    except Exception as error:
        send(control, f"{type(error).__name__}: {error}".encode())
        return
    for sample in _WARM_UP:  # fills the parser's tables and loads what sympy loads late, before the first fork
        compare(*sample)
    gc.collect()
    gc.freeze()
    parent = os.getppid()
    send(control, READY)
    children: set[int] = set()
    try:
        while True:
            # A fork of our owner may hold the socket open after the owner has died, hence the look at the parent.
            if not select.select([control], [], [], 1.0)[0]:
                if os.getppid() != parent:
                    return
                continue
            message, descriptors, _, _ = socket.recv_fds(control, REQUEST.size, 1)
            if len(message) < REQUEST.size:
                return
            request, pid = REQUEST.unpack(message)
            if request == b"F":
                child = os.fork()
                if not child:
                    control.close()
                    work(socket.socket(fileno=descriptors[0]), compare, setup["memory"])
                os.close(descriptors[0])
                children.add(child)
                control.sendall(REPLY.pack(child))
            else:
                control.sendall(REPLY.pack(_end(pid) if pid in children else 0))
                children.discard(pid)
    finally:
        for child in children:
            _end(child)


def _end(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def work(channel: socket.socket, compare: Callable[[str, str], tuple[bool | None, str]], memory: int) -> NoReturn:
    """Answer requests until the other side closes or it is time for a fresh worker."""
    status = 0
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        sys.addaudithook(_guard)
        for _ in range(_TASKS):
            task = receive(channel)
            if not task:
                break
            deadline, reference, prediction = json.loads(task)
            # The default action of SIGALRM ends the process in the kernel: no bytecode has to run, no handler can be lost.
            signal.setitimer(signal.ITIMER_REAL, deadline)
            try:
                equal, reason = compare(reference, prediction)
            except MemoryError:
                equal, reason = None, "memory"
            except RecursionError:
                equal, reason = None, "depth"
            except Undecided as error:
                equal, reason = None, str(error)
            except Exception as error:
                equal, reason = None, f"error: {type(error).__name__}"
            signal.setitimer(signal.ITIMER_REAL, 0)
            send(channel, json.dumps([equal, reason]).encode())
    except BaseException:
        status = 1
    finally:
        os._exit(status)


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or _FORBIDDEN.fullmatch(event):
        raise Undecided(f"forbidden: {event}")


def load() -> Callable[[str, str], tuple[bool | None, str]]:
    """Import math-verify, close its ways to evaluate text, and return the function that compares (reference, prediction)."""
    logging.disable(logging.CRITICAL)
    import math_verify.grader as grader
    import math_verify.parser as parser
    import sympy
    import sympy.parsing.sympy_parser as sympy_parser
    import sympy.physics.units  # simplify loads it when first used, and it does need parse_expr
    from sympy.physics.units.systems import SI  # noqa: F401

    def numeral(text: str, *_: Any, **__: Any) -> Any:
        """What is left of `parse_expr`: sympy reads the digits of every number through it, by eval."""
        if _NUMERAL.fullmatch(text) is None:
            raise ValueError("text is never evaluated")
        return sympy.Float(text) if "." in text else sympy.Integer(int(text))

    sympy_parser.parse_expr = sympy_parser.eval_expr = parser.parse_expr = numeral

    def arithmetic(text: str) -> Any:
        text = text.replace("**", "^").replace("×", "\\times ").replace("÷", "\\div ").replace("*", "\\cdot ")
        return parser.parse_latex_cached(text)

    parser.parse_expr_cached = arithmetic
    check = _bounds(sympy)
    usual = parser.LatexExtractionConfig()
    normalization = dataclasses.replace(usual.normalization_config, units=False)
    without_units = [dataclasses.replace(usual, normalization_config=normalization), parser.ExprExtractionConfig()]
    for name in ("simplify", "solve"):
        setattr(grader, name, _loud(getattr(grader, name)))
    grader.safe_sympy_doit = _doit
    sympy.core.evalf.EvalfMixin.evalf = _loud(sympy.core.evalf.EvalfMixin.evalf)

    def read(text: str) -> list[Any]:
        found: list[Any] = parser.parse(text, parsing_timeout=None)
        if len(text) < 200 and all(isinstance(value, str) for value in found):  # the "c" of "a + b + c" was taken for a unit
            found = parser.parse(text, without_units, parsing_timeout=None)
        for value in found:
            check(value)
        return found

    def compare(reference: str, prediction: str) -> tuple[bool | None, str]:
        gold, target = read(reference), read(prediction)
        trouble = ""
        for one in gold:
            for other in target:
                try:
                    if grader.verify(one, other, timeout_seconds=None, raise_on_error=True):
                        return True, ""
                except TypeError:  # two kinds of things, as an interval and a number: they differ
                    continue
                except Exception as error:
                    if not (isinstance(error, ValueError) and str(error).startswith("zip()")):  # lists of unequal length differ
                        trouble = f"error: {type(error).__name__}"
        for side, found in (("reference", gold), ("prediction", target)):
            if all(isinstance(value, str) for value in found):
                return None, f"unreadable {side}"
        return (None, trouble) if trouble else (False, "")

    return compare


def _doit(value: Any) -> Any:
    try:
        return value.doit()
    except (MemoryError, RecursionError) as error:
        raise Undecided("memory" if isinstance(error, MemoryError) else "depth") from None
    except Exception:
        return value


def _loud(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, but running out of memory or stack in it cannot be swallowed."""

    def wrapper(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except MemoryError:
            raise Undecided("memory") from None
        except RecursionError:
            raise Undecided("depth") from None

    return wrapper


def _bounds(sympy: Any) -> Callable[[Any], None]:
    """Make what nobody could write out undecided at once, instead of after the deadline. Returns a check of what was parsed."""
    integer, factorial, binomial = sympy.Integer, sympy.factorial, sympy.binomial
    power, product, choose = integer._eval_power, factorial.eval, binomial.eval
    calculus = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative)

    def bounded_power(self: Any, exponent: Any) -> Any:
        if isinstance(exponent, integer) and abs(self.p) > 1 and abs(exponent.p) * abs(self.p).bit_length() > _BITS:
            raise Undecided("size")
        return power(self, exponent)

    def bounded_factorial(cls: Any, n: Any) -> Any:
        if isinstance(n, integer) and n.p > _MANY:
            raise Undecided("size")
        return product(n)

    def bounded_binomial(cls: Any, n: Any, k: Any) -> Any:
        if isinstance(n, integer) and isinstance(k, integer) and min(abs(k.p), abs(n.p - k.p)) > _MANY:
            raise Undecided("size")
        return choose(n, k)

    binomial.eval = classmethod(bounded_binomial)
    integer._eval_power = bounded_power
    factorial.eval = classmethod(bounded_factorial)

    def size(value: Any) -> float:
        """log2 of a number that is written in digits, powers and products: 0 for what is small or symbolic."""
        if isinstance(value, sympy.Number):
            number = abs(value)
            return float(sympy.log(number, 2)) if number > 1 and number.is_finite else 0.0
        if isinstance(value, sympy.Pow):
            exponent = size(value.exp)
            if exponent > 64:
                raise Undecided("size")
            return float(size(value.base) * 2.0**exponent)
        if isinstance(value, sympy.Mul):
            return sum(size(part) for part in value.args)
        return max((size(part) for part in value.args), default=0.0) if isinstance(value, sympy.Basic) else 0.0

    def too_big(node: Any) -> bool:
        if isinstance(node, sympy.Pow):
            exponent = size(node.exp)
            terms = len(node.base.args) if isinstance(node.base, sympy.Add) else 1
            expands = exponent > 6 and (terms - 1) * exponent > _EXPANDED
            return expands or size(node.base) * 2.0 ** min(exponent, 64.0) > _BITS
        if isinstance(node, sympy.factorial | sympy.binomial):
            return size(node.args[0]) > _CALCULUS
        return isinstance(node, calculus) and any(size(number) > _CALCULUS for number in node.atoms(sympy.Number))

    def check(value: Any) -> None:
        if isinstance(value, sympy.Basic) and any(too_big(node) for node in sympy.preorder_traversal(value)):
            raise Undecided("size")

    return check


def send(channel: socket.socket, data: bytes) -> None:
    channel.sendall(LENGTH.pack(len(data)) + data)


def receive(channel: socket.socket) -> bytes:
    """One message; empty when the other side has gone."""
    head = exactly(channel, LENGTH.size)
    return exactly(channel, LENGTH.unpack(head)[0]) if head else b""


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


if __name__ == "__main__":
    main(int(sys.argv[1]))

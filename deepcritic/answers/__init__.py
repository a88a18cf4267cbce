r"""Check whether two mathematical answers are equal: plain numbers directly, others by math-verify in killable processes.

>>> equivalent(r"Therefore it is $\boxed{\frac{1}{2}}$.", "0.5")
True
>>> [result.equal for result in compare([("3", "3"), ("4 cm", "5"), ("", "5")])]
[True, False, None]

None means undecided: out of time or memory, or not readable; `compare` gives the reason. Undecided is never reported as False.
The reference is the second argument here, the first in math-verify, whose comparison is not symmetric.

math-verify's own timeout needs the main thread and cannot stop everything. Here each worker is a process that the kernel kills at
its deadline, so this works in any thread, in forked children, in Ray, and in a script without a main guard. The processes start
with the first pair that needs algebra (about a second) and end with this process.

`decide` compares what needs no algebra, `cache` stores results, `pool` owns the processes and talks to them over `protocol`,
`worker` runs in them, and `algebra` calls math-verify there, within `bounds`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from deepcritic.answers.cache import Cache
from deepcritic.answers.conventions import DEFAULT, Conventions
from deepcritic.answers.decide import Comparison, Question, at_once
from deepcritic.answers.pool import cores, workers

__all__ = ["COMPARED", "Comparison", "Conventions", "compare", "equivalent"]

COMPARED: Final = "compared.jsonl"
"""File name of a stage's comparisons, for `compare(..., cache=folder / COMPARED)`."""
_AHEAD: Final = 500  # pairs queued for each worker, so that a slow first pair does not idle the others
_memory: Final = Cache()


def equivalent(prediction: str, reference: str, *, deadline: float = 2.0, conventions: Conventions = DEFAULT) -> bool | None:
    """Whether `prediction` gives the same answer as `reference`; None if undecided within `deadline` seconds.

    Each may be a bare answer or a whole reply, of which the last box or the stated answer counts. `compare` gives the reason for
    None.
    """
    found = at_once(prediction, reference, conventions)
    if isinstance(found, Comparison):
        return found.equal
    result = _memory.get(found, deadline)
    if result is None:
        result = workers().compare(found, deadline)
        _memory.add(found, result, deadline)
    return result.equal


def compare(
    pairs: Iterable[tuple[str, str]], *, cache: Path | None = None, deadline: float = 2.0, conventions: Conventions = DEFAULT
) -> Iterator[Comparison]:
    """Yield one `Comparison` for each pair (prediction, reference), in order; one process per core works ahead.

    Pairs are read lazily, so that a stream of any length can be compared. Results that needed algebra are appended to the file
    `cache`, and pairs found there are not compared again. Without a file they are kept in memory.
    """
    waiting: deque[Comparison | tuple[Question, Future[Comparison]]] = deque()
    running: dict[Question, Future[Comparison]] = {}  # so that a pair is not compared twice at once
    most = _AHEAD * cores()
    with contextlib.ExitStack() as stack:
        store = _memory
        if cache is not None:
            store = stack.enter_context(contextlib.closing(Cache(cache, conventions)))
        threads = ThreadPoolExecutor(cores(), "answers")
        stack.callback(threads.shutdown, cancel_futures=True)

        def settle(item: Comparison | tuple[Question, Future[Comparison]]) -> Comparison:
            if isinstance(item, Comparison):
                return item
            question, future = item
            store.add(question, future.result(), deadline)
            running.pop(question, None)
            return future.result()

        for prediction, reference in pairs:
            found = at_once(prediction, reference, conventions)
            if not isinstance(found, Comparison):
                found = store.get(found, deadline) or found
            if isinstance(found, Comparison):
                waiting.append(found)
            else:
                if found not in running:
                    running[found] = threads.submit(workers().compare, found, deadline)
                waiting.append((found, running[found]))
            while waiting and (len(waiting) > most or isinstance(waiting[0], Comparison) or waiting[0][1].done()):
                yield settle(waiting.popleft())
        while waiting:
            yield settle(waiting.popleft())

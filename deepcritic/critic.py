r"""A critic as a Python object: the first wrong step of a solution, with its confidence and an explanation.

>>> from deepcritic.samplers.scripted import ScriptedSampler
>>> critic = Critic(sampler=ScriptedSampler("Step 2 should give 5. \\boxed{2}"), samples=4)
>>> found = critic.critique("What is 1 + 1 + 3?", "Step 1: 1 + 1 = 2\nStep 2: 2 + 3 = 6")
>>> found.first_error, found.agreement, found.accepts
(2, 1.0, False)
>>> found.steps[found.first_error - 1], found.text
('2 + 3 = 6', 'Step 2 should give 5. \\boxed{2}')

With a model, use `Critic(model="path/to/critic")`; with a model server, `Critic(model="name", sampler="openai", urls=[...])`.
With the critic service (`python -m deepcritic serve`), use `Critic(urls=["http://host:8765"])`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import importlib
import json
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Self

from deepcritic.errors import InputError, UsageError
from deepcritic.samplers.adaptive_vote import AdaptiveVotes
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.resume import engine_for, request
from deepcritic.samplers.servers.critics import Answer, ServiceClient
from deepcritic.schema import ALL_CORRECT, Failure, Generation, Item, Row
from deepcritic.tasks.base import CriticTask, verdict_of
from deepcritic.tasks.first_error import FirstError
from deepcritic.tasks.proof import Proof
from deepcritic.text.parsing import strip_thinking
from deepcritic.text.splitting import split_by_rule
from deepcritic.text.steps import find_steps

CALL = "critique"
ENGINES = {
    "transformers": "TransformersSampler", "vllm": "VLLMSampler", "openai": "OpenAISampler", "litellm": "LiteLLMSampler",
    "ray": "RaySampler",
}  # fmt: skip
"""The engines by name. Each is in the module of that name in `deepcritic.samplers`."""

SPLITS = ("layout", "rule")
Solution = str | Sequence[str]


class Critique(Row, frozen=True, kw_only=True):
    r"""A critic's result for one solution.

    `first_error` is the first wrong step, numbered from 1, `ALL_CORRECT` (-1) if every step is right, or None if no sample has a
    readable verdict. `votes` counts the readable verdicts. `agreement` is the winner's share of them. `text` is the first reply
    with the winning verdict, or the first reply if there is no verdict. `unparsed` counts the replies without a readable verdict,
    and `failed` the samples without a reply. `note` gives the reason if there is no verdict. `tokens` counts prompts and replies
    of all samples. For a solution given as one text, `spans` holds the `(start, end)` of each step in it, and `place` that of the
    first error.

    With `task=Proof()`, `grade` is the grade of the solution, `grades` counts the votes for each, and `issues` lists what `text`
    claims to be wrong; the fields about steps are empty.

    >>> from deepcritic.samplers.scripted import ScriptedSampler
    >>> replies = ["Right. \\boxed{-1}", "Step 1 is off. \\boxed{1}", "No idea.", "Wrong. \\boxed{1}"]
    >>> critic = Critic(sampler=ScriptedSampler(lambda request, sample: replies[sample]), samples=4)
    >>> found = critic.critique("What is 1 + 1?", "1 + 1 = 3")
    >>> found.first_error, found.votes, found.unparsed, found.text
    (1, {1: 2.0, -1: 1.0}, 1, 'Step 1 is off. \\boxed{1}')
    """

    steps: tuple[str, ...]
    spans: tuple[tuple[int, int], ...] = ()
    first_error: int | None = None
    votes: dict[int, float] = {}
    agreement: float = 0.0
    text: str = ""
    unparsed: int = 0
    failed: int = 0
    tokens: int = 0
    note: str = ""
    grade: float | None = None
    grades: dict[float, float] = {}
    issues: tuple[str, ...] = ()
    full_marks: float = 1.0

    @property
    def place(self) -> tuple[int, int] | None:
        r"""The place of the first error, `text[start:end]` of the solution. None without an error, or for a list of steps.

        >>> from deepcritic.samplers.scripted import ScriptedSampler
        >>> critic, text = Critic(sampler=ScriptedSampler("\\boxed{2}"), samples=1), "Step 1: 2 * 3 = 6\nStep 2: 6 + 1 = 8"
        >>> start, end = critic.critique("What is 2 * 3 + 1?", text).place
        >>> text[start:end]
        'Step 2: 6 + 1 = 8'
        """
        first = self.first_error
        return self.spans[first - 1] if first is not None and 1 <= first <= len(self.spans) else None

    @property
    def accepts(self) -> bool:
        """Whether the critic finds every step right, or gives full marks. False without a readable verdict."""
        return self.first_error == ALL_CORRECT or self.grade == self.full_marks

    @property
    def acceptance(self) -> float | None:
        """The share of the readable votes that find every step right, 0 to 1; of grades, their mean as a share of the full marks.
        None without a readable vote."""
        if graded := sum(self.grades.values()):
            return sum(grade * votes for grade, votes in self.grades.items()) / graded / self.full_marks
        readable = sum(self.votes.values())
        return self.votes.get(ALL_CORRECT, 0.0) / readable if readable else None

    @property
    def unreadable(self) -> int:
        """Deprecated name of `unparsed` (until 0.1), removed in the next release."""
        warnings.warn("unreadable is now called unparsed", DeprecationWarning, stacklevel=2)
        return self.unparsed


class Critic:
    r"""A model with its prompt, its sampling and the vote of its samples.

    `sampler` is the name of an engine (`transformers`, `vllm`, `openai`, `litellm`, `ray`), with its options as further keywords,
    or your own sampler. `samples` critiques are sampled per solution, at temperature 1.0, or 0.6 for a single one (DeepCritic's
    settings). With `adaptive=True`, sampling stops when no further sample could change the verdict; there are fewer votes then.
    A critique has at most `max_tokens` tokens, by default the rest of the context. A solution given as one text is split by its
    `layout` (headings, lists, paragraphs); with `split="rule"`, also into sentences if the layout shows no steps. The same seed
    gives the same critique of a solution, independent of other requests.

    The weights are loaded on the first call. `critique` is thread-safe. A critic that was made from names can be pickled. Raises
    `InputError` for a model that does not exist.

    >>> from deepcritic.samplers.scripted import ScriptedSampler
    >>> with Critic(sampler=ScriptedSampler("All right. \\boxed{-1}"), samples=2) as critic:
    ...     critic.critique("What is 1 + 1?", "1 + 1 = 2").accepts
    True
    """

    def __new__(cls, model: str | None = None, *, sampler: str | Sampler = "transformers", urls: Any = None, **_: Any) -> Self:
        """A client of the critic service if only `urls` are given."""
        if cls is Critic and urls is not None and model is None and sampler == "transformers":
            return super().__new__(_ServiceCritic)  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(
        self,
        model: str | None = None,
        *,
        sampler: str | Sampler = "transformers",
        samples: int = 8,
        adaptive: bool = False,
        temperature: float | None = None,
        top_p: float = 0.9,
        max_tokens: int | None = None,
        task: CriticTask[Any] | None = None,
        split: str = "layout",
        seed: int = 0,
        **options: Any,
    ) -> None:
        if samples < 1:
            raise InputError("out of range", field="samples", found=samples, expected="a whole number from 1")
        if split not in SPLITS:
            raise InputError("unknown way to split a solution", field="split", found=split, expected=" or ".join(SPLITS))
        chosen = (0.6 if samples == 1 else 1.0) if temperature is None else temperature
        self.sampling = Sampling(temperature=chosen, top_p=top_p, max_tokens=max_tokens)
        self.task: CriticTask[Any] = task or FirstError()
        if adaptive and self.task.name != "first_error":
            raise InputError("not possible with this task", field="adaptive", found=self.task.name, expected="task=FirstError()")
        self.samples, self.split, self.seed, self.adaptive = samples, split, seed, adaptive
        self._named = None if not isinstance(sampler, str) else (model, sampler, options)
        self._engine = engine_for(engine_named(sampler, **options), model, "model") if isinstance(sampler, str) else sampler
        self._open = False
        self._lock = threading.Lock()

    @property
    def model_id(self) -> str:
        """The model's name with a hash of its content."""
        return self._engine.model_id

    def critique(self, problem: str, solution: Solution) -> Critique:
        r"""Critique one solution: a text (split into steps) or a list of steps.

        Raises `InputError` for an empty problem or a solution without steps.

        >>> from deepcritic.samplers.scripted import ScriptedSampler
        >>> critic = Critic(sampler=ScriptedSampler("The sum is off. \\boxed{2}"), samples=1)
        >>> critic.critique("What is 2 * 3 + 1?", ["2 * 3 = 6", "6 + 1 = 8"]).first_error
        2
        """
        read_item(problem, solution, self.split)
        return next(self.critique_many([(problem, solution)]))

    def critique_many(self, pairs: Iterable[tuple[str, Solution]]) -> Iterator[Critique]:
        r"""Yield a critique for each `(problem, solution)`, in order. `pairs` is read lazily and may be infinite.

        An invalid pair gives a critique without a verdict, with the reason in `note`.

        >>> from deepcritic.samplers.scripted import ScriptedSampler
        >>> critic = Critic(sampler=ScriptedSampler("\\boxed{-1}"), samples=1)
        >>> pairs = [("What is 1 + 1?", "1 + 1 = 2"), ("What is 1 + 1?", "")]
        >>> [(found.first_error, found.note.partition(":")[0]) for found in critic.critique_many(pairs)]
        [(-1, ''), (None, 'solution')]
        """
        engine = self.opened()
        asked = _Asked(self, pairs)
        while asked.unfinished:
            with asked.wave():
                for outcome in engine.stream(asked.requests()):
                    asked.arrived(outcome)
                    yield from asked.ready()
            yield from asked.ready()

    async def acritique(self, problem: str, solution: Solution) -> Critique:
        r"""`critique` as a coroutine.

        >>> from deepcritic.samplers.scripted import ScriptedSampler
        >>> critic = Critic(sampler=ScriptedSampler("\\boxed{1}"), samples=1)
        >>> asyncio.run(critic.acritique("What is 1 + 1?", "1 + 1 = 3")).first_error
        1
        """
        return await asyncio.to_thread(self.critique, problem, solution)

    async def acritique_many(self, pairs: Iterable[tuple[str, Solution]]) -> AsyncIterator[Critique]:
        r"""`critique_many` as an asynchronous iterator.

        >>> from deepcritic.samplers.scripted import ScriptedSampler
        >>> async def count(critic: Critic) -> int:
        ...     return sum([found.accepts async for found in critic.acritique_many([("What is 1 + 1?", "1 + 1 = 2")] * 3)])
        >>> asyncio.run(count(Critic(sampler=ScriptedSampler("\\boxed{-1}"), samples=1)))
        3
        """
        found, end = self.critique_many(pairs), object()
        while (one := await asyncio.to_thread(next, found, end)) is not end:
            yield one  # type: ignore[misc]

    def question(self, item: Item, *, example_id: str, step: int = 0) -> Request:
        """The request for all samples about `item`. `step` distinguishes several rounds on one example."""
        return request(
            self.task.ask(item), self.sampling, example_id=example_id, call=CALL, seed=self.seed, step=step,
            samples=range(self.samples),
        )  # fmt: skip

    def judge(self, item: Item, outcomes: Iterable[Generation | Failure]) -> Critique:
        """The vote of the samples about `item`."""
        return judge(self.task, item, outcomes)

    def close(self) -> None:
        """Release the engine. The next call opens it again."""
        with self._lock:
            if self._open:
                self._engine.__exit__(None, None, None)
                self._open = False

    def __enter__(self) -> Self:
        self.opened()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def opened(self) -> Sampler:
        """The engine, with its weights loaded."""
        with self._lock:
            if not self._open:
                self._engine.__enter__()
                self._open = True
            return self._engine

    def __getstate__(self) -> dict[str, Any]:
        if self._named is None:
            raise TypeError("a critic with a custom sampler cannot be pickled; create it from an engine name instead")
        return {**self.__dict__, "_engine": None, "_lock": None, "_open": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        model, name, options = state["_named"]
        self._engine, self._lock = engine_for(engine_named(name, **options), model, "model"), threading.Lock()


class _ServiceCritic(Critic):
    """A critic served at `urls`, with the prompt and settings of the service. `samples` is the number of critiques that vote."""

    def __init__(
        self, model: None = None, *, urls: str | Sequence[str], sampler: str = "transformers", samples: int = 8, **options: Any
    ) -> None:
        for name in ("adaptive", "temperature", "top_p", "max_tokens", "task", "split", "seed"):
            if name in options:
                raise UsageError(f"{name} is set by the service at {urls}; remove it, or set model=")
        self.samples, self._given = samples, {"urls": urls, "samples": samples, **options}
        self._client, self._open, self._lock = ServiceClient(urls, **options), False, threading.Lock()

    @property
    def model_id(self) -> str:
        return self._entered().model()

    def critique(self, problem: str, solution: Solution) -> Critique:
        read_item(problem, solution)
        return next(self.critique_many([(problem, solution)]))

    def critique_many(self, pairs: Iterable[tuple[str, Solution]]) -> Iterator[Critique]:
        found: dict[int, Critique] = {}
        due = 0
        for answer in self._entered().critiques(_body(problem, solution, self.samples) for problem, solution in pairs):
            found[answer.number] = _from_service(answer)
            while due in found:
                yield found.pop(due)
                due += 1

    def opened(self) -> Sampler:
        raise UsageError("a service returns critiques, not replies; set model= to sample replies")

    def _entered(self) -> ServiceClient:
        with self._lock:
            if not self._open:
                self._client.__enter__()
                self._open = True
            return self._client

    def close(self) -> None:
        with self._lock:
            if self._open:
                self._client.__exit__(None, None, None)
                self._open = False

    def __enter__(self) -> Self:
        self._entered()
        return self

    def __reduce__(self) -> Any:
        return _service_critic, (self._given,)


def _service_critic(given: dict[str, Any]) -> Critic:
    return Critic(**given)


def _body(problem: str, solution: Solution, samples: int) -> dict[str, Any]:
    text = {"solution": solution} if isinstance(solution, str) else {"steps": list(solution)}
    return {"problem": problem, "samples": samples, **text}


def _from_service(answer: Answer) -> Critique:
    found = answer.found
    if found is None:
        return Critique(steps=(), failed=1, note=answer.note)
    votes = {int(verdict): count for verdict, count in found["votes"].items()}
    spans = tuple((start, end) for start, end in found["spans"])
    grades = {float(grade): count for grade, count in found["grades"].items()}
    fields = ("first_error", "agreement", "text", "unparsed", "failed", "tokens", "note", "grade", "full_marks")
    return Critique(
        steps=tuple(found["steps"]), spans=spans, votes=votes, grades=grades, issues=tuple(found["issues"]),
        **{name: found[name] for name in fields},
    )  # fmt: skip


class _Asked:
    """The pairs of one `critique_many` call: the requests, the outcomes so far, and the results to yield in order.

    A pair that repeats one in progress is not requested twice.
    """

    def __init__(self, critic: Critic, pairs: Iterable[tuple[str, Solution]]) -> None:
        self._critic, self._pairs = critic, pairs
        self._order: list[tuple[str, Item | None]] = []  # the names of the pairs that are not yielded yet
        self._items: dict[str, Item] = {}
        self._notes: dict[str, str] = {}
        self._outcomes: dict[str, list[Generation | Failure]] = {}
        self._lock = threading.Lock()  # engines pull requests in their own thread
        self._votes = AdaptiveVotes(self._distinct(), self._verdict, critic.samples) if critic.adaptive else None
        self.unfinished = True

    def requests(self) -> Iterator[Request]:
        return (
            (ask(range(self._critic.samples)) for _, ask in self._distinct()) if self._votes is None else self._votes.requests()
        )

    @contextlib.contextmanager
    def wave(self) -> Iterator[None]:
        """One pass of an engine over `requests`."""
        with contextlib.nullcontext() if self._votes is None else self._votes.wave():
            yield
        self.unfinished = self._votes is not None and self._votes.unfinished

    def arrived(self, outcome: Generation | Failure) -> None:
        with self._lock:
            self._outcomes[outcome.key.example_id].append(outcome)
        if self._votes is not None:
            self._votes.put(outcome)

    def ready(self) -> Iterator[Critique]:
        while True:
            with self._lock:
                if not self._order:
                    return
                name, item = self._order[0]
                if item is not None and not self._complete(name):
                    return
                del self._order[0]
                outcomes = self._outcomes.get(name, [])
                if all(name != later for later, _ in self._order):
                    self._forget(name)
            yield Critique(steps=(), note=self._notes.pop(name)) if item is None else self._critic.judge(item, outcomes)

    def _distinct(self) -> Iterator[tuple[str, Callable[[Sequence[int]], Request]]]:
        """The name of each pair that is not in progress, and its request for some samples."""
        for number, (problem, solution) in enumerate(self._pairs):
            try:
                item = read_item(problem, solution, self._critic.split)
                name = content_name(item)
                question = self._critic.question(item, example_id=name)
            except InputError as error:
                with self._lock:
                    self._notes[f"#{number}"] = str(error)
                    self._order.append((f"#{number}", None))
                continue
            with self._lock:
                self._order.append((name, item))
                known = name in self._outcomes
                self._outcomes.setdefault(name, [])
                self._items[name] = item
            if not known:
                yield name, question.only

    def _verdict(self, reply: Generation) -> Any:
        return read_verdict(self._critic.task, self._items[reply.key.example_id], reply)

    def _complete(self, name: str) -> bool:
        if self._votes is None:
            return len(self._outcomes[name]) >= self._critic.samples
        return name in self._votes.asked

    def _forget(self, name: str) -> None:
        self._outcomes.pop(name, None)
        self._items.pop(name, None)
        if self._votes is not None:
            self._votes.asked.pop(name, None)


def read_verdict(task: CriticTask[Any], item: Item, reply: Generation) -> Any:
    """The verdict of a reply; None if unparsed, or if it names a step that the solution does not have."""
    verdict = verdict_of(reply, task)
    return None if task.name == "first_error" and verdict is not None and verdict > len(item.steps) else verdict


def judge(task: CriticTask[Any], item: Item, outcomes: Iterable[Generation | Failure]) -> Critique:
    """The vote of several samples. A verdict that names a missing step counts as unparsed."""
    replies = sorted((one for one in outcomes if isinstance(one, Generation)), key=lambda one: one.key.sample)
    failures = [one for one in outcomes if isinstance(one, Failure)]
    verdicts = [read_verdict(task, item, reply) for reply in replies]
    vote = task.vote(verdicts, seed=int(content_name(item), 16))
    winner = next((reply for reply, verdict in zip(replies, verdicts, strict=True) if verdict == vote.verdict), None)
    note = ""
    if vote.verdict is None:
        note = "no readable verdict" if replies else _why(failures) or "no reply"
    text = (strip_thinking(winner.text) or winner.text) if winner else ""
    found: dict[str, Any] = {"first_error": vote.verdict, "votes": vote.tally}
    if isinstance(task, Proof):
        found = {"grade": vote.verdict, "grades": vote.tally, "issues": task.issues(text), "full_marks": task.scale.full}
    return Critique(
        steps=item.steps,
        spans=item.meta.get("spans", ()),
        **found,
        agreement=vote.agreement,
        text=text,
        unparsed=vote.unparsed,
        failed=len(failures),
        tokens=sum(reply.prompt_tokens + reply.completion_tokens for reply in replies),
        note=note,
    )


def _why(failures: Sequence[Failure]) -> str:
    """The reasons of failures, each with the message of its first failure."""
    details = {one.reason: one.detail for one in reversed(failures)}
    return ", ".join(f"{reason} ({detail})" if detail else reason for reason, detail in sorted(details.items()))


def read_item(problem: str, solution: Solution, split: str = "layout") -> Item:
    """A problem and its solution as an item. For a solution given as one text, `meta` holds the text and the places of its steps
    (see `deepcritic.labels.splitting`). Raises `InputError` for an invalid problem or solution."""
    found = (split_by_rule if split == "rule" else find_steps)(solution) if isinstance(solution, str) else []
    steps = tuple(step.text for step in found) if isinstance(solution, str) else tuple(solution)
    if not problem.strip():
        raise InputError("the problem is empty", field="problem", found=problem, expected="its text")
    if not any(step.strip() for step in steps):
        raise InputError("the solution has no steps", field="solution", found=solution, expected="a text, or a list of steps")
    meta = {"solution": solution, "spans": tuple((step.start, step.end) for step in found)} if found else {}
    return Item(problem=problem, steps=steps, meta=meta)


def content_name(item: Item) -> str:
    """A name computed from an item's content: 16 hexadecimal digits."""
    content = json.dumps([item.problem, item.steps])
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def engine_named(name: str, **options: Any) -> Callable[..., Sampler]:
    """The engine `name` with its options bound. Called with `model=`, it returns a sampler.

    The engine on each machine of a Ray cluster can be named too: `engine_named("ray", engine="vllm")`. Raises `UsageError` for an
    unknown engine.
    """
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}; expected {', '.join(ENGINES)}")
    if isinstance(options.get("engine"), str):
        options["engine"] = engine_named(options["engine"])
    kind = getattr(importlib.import_module(f"deepcritic.samplers.{name}"), ENGINES[name])
    return functools.partial(kind, **options)

"""Public data sets: one file each, and their conventions end there.

A data set is a function that makes one of our rows of one of its records; `reader` makes of it the `read` that every data set
has. Steps count from 1, carry no numbering of their own, and nothing that tells the truth stands in `item`.

    read = reader(_example)                       # in the data set's file
    report = Report()
    rows = list(processbench.read("Qwen/ProcessBench", split="math", max_bad=10, report=report))
    print(report.counts, report.bad)

Where the records come from, and in which format they are, is the business of `deepcritic.datasets.reading`. A row that cannot be
used raises `InputError` with its file, line and field. Where `max_bad` allows for some, as in data for training, they are set
aside in a `Report`, which also counts what became of each row.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from deepcritic.datasets.fields import check_columns, missing
from deepcritic.datasets.reading import Place, Record, Rows, read_records
from deepcritic.errors import InputError
from deepcritic.schema import Dialogue, Example, Preference

T = TypeVar("T")
R = TypeVar("R", Example, Dialogue, Preference)
R_co = TypeVar("R_co", covariant=True)
Columns = Mapping[str, str]
"""What the columns of fields are called: `{"problem": "question"}`."""


@dataclass
class Report:
    """What became of a source's rows: `counts` by reason (`rows` is all of them), and the bad rows that were set aside. Of rows
    of one's own `unread` counts the columns that were not read."""

    counts: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    bad: list[InputError] = field(default_factory=list)

    def set_aside(self, error: InputError, max_bad: int) -> None:
        """Count the row and keep its error; raise it when there are more than `max_bad` in this report now."""
        self.counts["rows"] += 1
        self.counts["bad"] += 1
        self.bad.append(error)
        if len(self.bad) > max_bad:
            raise error


class Reader(Protocol[R_co]):
    """How every data set is read. `path` is a file, a folder, a hub id, or rows in memory; `revision`, `split` and `config`
    choose among what the hub holds. `columns` names the columns of fields that are called otherwise. So many as `max_bad` rows
    may be bad: they are set aside in `report`."""

    def __call__(
        self,
        path: Rows,
        *,
        columns: Columns | None = None,
        revision: str | None = None,
        split: str | None = None,
        config: str | None = None,
        max_bad: int = 0,
        report: Report | None = None,
        **options: Any,
    ) -> Iterator[R_co]: ...


def reader(convert: Callable[..., R | tuple[R, ...]], *, repeats: bool = False, fields: Sequence[str] = ()) -> Reader[R]:
    """The `read` of a data set, of what makes a row of one record, or a tuple of rows. Keywords of `convert` are options of the
    data set.

    A row with an empty id gets its source and its number among the rows, from 0. With `repeats` an id may occur again: what
    follows the first row is passed over and counted as repeated. `fields` are those that columns may be named for; none: any.
    """

    def read(
        path: Rows,
        *,
        columns: Columns | None = None,
        revision: str | None = None,
        split: str | None = None,
        config: str | None = None,
        max_bad: int = 0,
        report: Report | None = None,
        **options: Any,
    ) -> Iterator[R]:
        kept = report or Report()
        check_columns(columns, options.get("index_base"), fields)
        records = read_records(
            path, revision=revision, split=split, config=config, on_bad=lambda error: kept.set_aside(error, max_bad)
        )
        if fields:
            records = _noting_unread(records, {*fields, *(columns or {}).values()}, kept)
        made = under_names(functools.partial(convert, **options), columns)
        return convert_each(records, made, max_bad, kept, repeats=repeats)

    signed: Reader[R] = _signed(read, convert)
    return signed


def _noting_unread(records: Iterator[tuple[Place, Record]], known: set[str], report: Report) -> Iterator[tuple[Place, Record]]:
    for place, record in records:
        report.unread.update(name for name in record if name not in known)
        yield place, record


def under_names(convert: Callable[[Record], T], columns: Columns | None) -> Callable[[Record], T]:
    """`convert` for records whose fields stand in other `columns`; its errors name the column.

    >>> under_names(lambda record: record["problem"], {"problem": "question"})({"question": "1 + 1?"})
    '1 + 1?'
    """
    if not columns:
        return convert
    named = {str(name): str(column) for name, column in columns.items()}

    def renamed(record: Record) -> T:
        for name, column in named.items():
            if column not in record:
                raise missing(record, column, f"the column of {name}")
        try:
            return convert({**record, **{name: record[column] for name, column in named.items()}})
        except InputError as error:
            name = re.split(r"[.\[]", error.field or "", maxsplit=1)[0]
            raise error.replace(field=f"{named[name]}{(error.field or '')[len(name) :]}") if name in named else error from None

    return renamed


def _signed(read: Any, convert: Callable[..., Any]) -> Any:
    """`read` with the options of `convert` in its signature, so that a misspelt one is found before anything is read."""
    read.__doc__, read.__module__ = convert.__doc__, convert.__module__
    own = [one for one in inspect.signature(convert).parameters.values() if one.kind is one.KEYWORD_ONLY]
    path, *common, _ = inspect.signature(read).parameters.values()
    read.__signature__ = inspect.Signature([path, *own, *common])
    read.__annotations__ = {**read.__annotations__, **{one.name: one.annotation for one in own}}
    try:
        hints = typing.get_type_hints(convert)
    except NameError:  # a type that is imported for the type checker only
        hints = {}
    read.__annotations__.update({one.name: hints.get(one.name, Any) for one in own})
    return read


def convert_each(
    records: Iterator[tuple[Place, T]],
    convert: Callable[[T], R | tuple[R, ...]],
    max_bad: int,
    report: Report,
    *,
    repeats: bool = False,
    lenient: bool = False,
) -> Iterator[R]:
    """`convert` applied to each of `records`; bad ones are set aside in `report` with their place.
    It may make several rows of one record.

    An id may occur once. Where bad rows are allowed for, or with `lenient`, a row that repeats an earlier one is counted as a
    duplicate and passed over, and one that contradicts an earlier one is named as such.
    """
    seen: dict[str, _Seen] = {}
    for number, (place, record) in enumerate(records):
        try:
            made = convert(record)
            rows = made if isinstance(made, tuple) else (made,)
        except InputError as error:
            report.set_aside(placed(error, place), max_bad)
            continue
        for row in rows:
            if not row.id:
                row = msgspec.structs.replace(row, id=f"{row.source}-{number}")
            try:
                check_problem(row)
                again = row.id in seen if repeats else _check_new(row, place, seen, lenient=lenient or max_bad > 0)
            except InputError as error:
                report.set_aside(placed(error, place), max_bad)
                continue
            report.counts["rows"] += 1
            if again:
                report.counts["repeated" if repeats else "duplicates"] += 1
                continue
            seen.setdefault(row.id, _Seen(place.line, b"", None))
            report.counts["examples"] += 1
            if isinstance(row, Example) and not row.item.steps and row.gold.reference_answer is None:
                report.counts["without_answer"] += 1
            yield row


class _Seen(NamedTuple):
    line: int
    content: bytes
    label: Any


def _check_new(row: Example | Dialogue | Preference, place: Place, seen: dict[str, _Seen], *, lenient: bool) -> bool:
    """Note on which line an id stands; whether it stood there before with the same content. Refuses it with another content."""
    before = seen.get(row.id)
    if before is None:
        seen[row.id] = _Seen(place.line, *(_content(row) if lenient else (b"", None)))
        return False
    if lenient:
        content, label = _content(row)
        if content == before.content:
            if label == before.label:
                return True
            raise InputError(
                "the same row with another label", field="id", found=f"{row.id}, labelled {label}",
                expected=f"{before.label}, the label on line {before.line}",
            )  # fmt: skip
    raise InputError("the id occurs twice", field="id", found=row.id, expected=f"an id other than that of line {before.line}")


def _content(row: Example | Dialogue | Preference) -> tuple[bytes, Any]:
    """A hash of what a row asks, and its label."""
    asked: Any = row.messages if isinstance(row, Dialogue) else (row.item, getattr(row, "parent_id", None))
    label: Any = row.verdict if isinstance(row, Dialogue) else row.gold.first_error if isinstance(row, Example) else row.gold.best
    return hashlib.blake2b(msgspec.json.encode(asked), digest_size=8).digest(), getattr(label, "value", label)


def check_problem(row: Example | Dialogue | Preference) -> None:
    """Refuse a row that asks nothing."""
    if not isinstance(row, Dialogue) and not row.item.problem.strip():
        name = "item.query" if isinstance(row, Preference) else "item.problem"
        raise InputError("the problem is empty", field=name, found=row.item.problem, expected="its text")


def placed(error: InputError, place: Place) -> InputError:
    """The same error with its place."""
    return error.replace(file=place.file, line=place.line)


class Passes(Protocol[T]):
    """A data set whose rows need what other rows say: `note` hears of all rows first, then `use` gives what becomes of each."""

    def parse(self, record: Record) -> T: ...

    def note(self, row: T, report: Report) -> None: ...

    def noted(self, report: Report) -> None: ...

    def use(self, row: T) -> tuple[str, Example | None]: ...


def reader_of_two_passes(make: Callable[[], Passes[Any]], doc: str) -> Reader[Example]:
    """The `read` of a data set that is read twice, as a stream; `counts` of the report says what became of each row."""

    def read(
        path: Rows,
        *,
        columns: Columns | None = None,
        revision: str | None = None,
        split: str | None = None,
        config: str | None = None,
        max_bad: int = 0,
        report: Report | None = None,
        **_: Any,
    ) -> Iterator[Example]:
        kept, passes = report or Report(), make()
        parse = under_names(passes.parse, columns)
        rows = path if not isinstance(path, Iterator) else list(path)
        options: dict[str, Any] = {"revision": revision, "split": split, "config": config}
        records = read_records(rows, **options, on_bad=lambda error: kept.set_aside(error, max_bad))
        again = read_records(rows, **options, on_bad=lambda error: None)
        return _twice(records, again, passes, parse, max_bad, kept)

    read.__doc__ = doc
    signed: Reader[Example] = _signed(read, make)
    return signed


def _twice(
    records: Iterator[tuple[Place, Record]],
    again: Iterator[tuple[Place, Record]],
    passes: Passes[Any],
    parse: Callable[[Record], Any],
    max_bad: int,
    report: Report,
) -> Iterator[Example]:
    for place, record in records:
        try:
            row = parse(record)
        except InputError as error:
            report.set_aside(placed(error, place), max_bad)
            continue
        passes.note(row, report)
    passes.noted(report)
    for _, record in again:
        try:
            row = parse(record)
        except InputError:
            continue  # set aside before
        report.counts["rows"] += 1
        fate, example = passes.use(row)
        report.counts[fate] += 1
        if example is not None:
            yield example

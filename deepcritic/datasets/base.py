"""Readers of public data sets. Each data set's conventions stay in its own file.

A data set defines a function that converts one of its records to one of our rows; `reader` turns it into the `read` of the data
set. In a row, steps count from 1 and have no headings that number them, and `item` holds nothing that reveals the gold.

    read = reader(_example)                       # in the data set's file
    report = Report()
    rows = list(processbench.read("Qwen/ProcessBench", split="math", max_bad=10, report=report))
    print(report.counts, report.bad)

`deepcritic.datasets.reading` finds the records and detects their format. A bad row raises `InputError` with its file, line and
field. Up to `max_bad` bad rows are set aside in a `Report` instead, which also counts how each row was used.
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
"""Column names by field: `{"problem": "question"}`."""


@dataclass
class Report:
    """How the rows of a source were used: `counts` by reason (`rows` is the total), and the bad rows that were set aside. For
    your own rows `unread` counts the columns that were not read."""

    counts: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    bad: list[InputError] = field(default_factory=list)

    def set_aside(self, error: InputError, max_bad: int) -> None:
        """Count the row and keep its error; raise the error if the report now holds more than `max_bad`."""
        self.counts["rows"] += 1
        self.counts["bad"] += 1
        self.bad.append(error)
        if len(self.bad) > max_bad:
            raise error


class Reader(Protocol[R_co]):
    """The signature of every `read`. `path` is a file, a folder, a hub id, or rows in memory; `revision`, `split` and `config`
    select a version and a part of a hub data set. `columns` maps fields to columns with other names. Up to `max_bad` bad rows are
    set aside in `report`."""

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
    """The `read` of a data set. `convert` makes a row, or a tuple of rows, from one record; its keywords are options of the data
    set.

    A row with an empty id gets one from its source and its row number, from 0. With `repeats` an id may occur again: later rows
    are skipped and counted as repeated. `fields` are the fields that `columns` may map; if empty, any.
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
    """`convert` for records whose fields are in other `columns`; its errors name the column.

    >>> under_names(lambda record: record["problem"], {"problem": "question"})({"question": "1 + 1?"})
    '1 + 1?'
    """
    if not columns:
        return convert
    named = {str(name): str(column) for name, column in columns.items()}

    def renamed(record: Record) -> T:
        for name, column in named.items():
            if column not in record:
                raise missing(record, column, f"the column of {name}", column_of=name)
        try:
            return convert({**record, **{name: record[column] for name, column in named.items()}})
        except InputError as error:
            name = re.split(r"[.\[]", error.field or "", maxsplit=1)[0]
            raise error.replace(field=f"{named[name]}{(error.field or '')[len(name) :]}") if name in named else error from None

    return renamed


def _signed(read: Any, convert: Callable[..., Any]) -> Any:
    """`read` with the options of `convert` in its signature, so that a misspelt option fails before anything is read."""
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
    """Apply `convert` to each of `records`; bad records are set aside in `report` with their place.
    `convert` may return several rows for one record, or none for a record of another kind, which is counted.

    Ids must be unique. With `max_bad` above 0 or `lenient`, a row that repeats an earlier one is counted as a duplicate and
    skipped, and the error for one that contradicts an earlier row says so.
    """
    seen: dict[str, _Seen] = {}
    for number, (place, record) in enumerate(records):
        try:
            made = convert(record)
            rows = made if isinstance(made, tuple) else (made,)
        except InputError as error:
            report.set_aside(placed(error, place), max_bad)
            continue
        if not rows:
            report.counts.update(rows=1, of_another_kind=1)
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
    """Record the line of an id. True if the id occurred before with the same content; raises if with other content."""
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
                "duplicate row with another label", field="id", found=f"{row.id}, labelled {label}",
                expected=f"{before.label}, as on line {before.line}",
            )  # fmt: skip
    raise InputError("duplicate id", field="id", found=row.id, expected=f"an id different from that of line {before.line}")


def _content(row: Example | Dialogue | Preference) -> tuple[bytes, Any]:
    """A hash of the question of a row, and its label."""
    asked: Any = row.messages if isinstance(row, Dialogue) else (row.item, getattr(row, "parent_id", None))
    if isinstance(row, Dialogue):
        label: Any = row.verdict
    elif isinstance(row, Example):
        label = row.gold.first_error if row.gold.grade is None else row.gold.grade
    else:
        label = row.gold.best
    return hashlib.blake2b(msgspec.json.encode(asked), digest_size=8).digest(), getattr(label, "value", label)


def check_problem(row: Example | Dialogue | Preference) -> None:
    """Refuse a row with an empty problem."""
    if not isinstance(row, Dialogue) and not row.item.problem.strip():
        name = "item.query" if isinstance(row, Preference) else "item.problem"
        raise InputError("the problem is empty", field=name, found=row.item.problem, expected="its text")


def placed(error: InputError, place: Place) -> InputError:
    """The same error with its place."""
    return error.replace(file=place.file, line=place.line)


class Passes(Protocol[T]):
    """A data set whose rows depend on other rows: `note` gets every row first, then `use` converts each."""

    def parse(self, record: Record) -> T: ...

    def note(self, row: T, report: Report) -> None: ...

    def noted(self, report: Report) -> None: ...

    def use(self, row: T) -> tuple[str, Example | None]: ...


def reader_of_two_passes(make: Callable[[], Passes[Any]], doc: str) -> Reader[Example]:
    """The `read` of a data set that is streamed twice; `counts` of the report says how each row was used."""

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

"""The folder of one stage: its lock, the check of its configuration, and the manifest, which is written last.

runs/<run>/<stage>[.<name>]/
    config.json      the options and what they depend on; compared when the stage is restarted
    *.jsonl          rows
    README.md        lists the row files for `datasets.load_dataset`, as the one of the run does
    manifest.json    written last: without it the stage is not finished
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import filelock

from deepcritic.errors import DeepCriticError, InputError, RunConflict, StageIncomplete, Stopped
from deepcritic.metrics.subset import subset
from deepcritic.runs.budget import Limits, UsageLog
from deepcritic.runs.changes import CONTENT, EXTENDS, Change, changes, flatten, listed
from deepcritic.runs.data_card import write_cards
from deepcritic.runs.failures import failures_in
from deepcritic.runs.jsonl import UNFINISHED, clear_unfinished, file_sha256, read_json, write_json
from deepcritic.runs.manifest import MANIFEST, manifest_of

LOG = logging.getLogger(__name__)

FAILURES = "*failures.jsonl"
COMPLETE = "complete"
"""The file that a checkpoint of a training has once all of it is written."""
_T = TypeVar("_T")


class Ledger:
    """Row counts: every row is kept, fails or is filtered, with a reason. `RunFolder.finish` asserts that they add up."""

    def __init__(self) -> None:
        self.entered = self.kept = 0
        self.failed: Counter[str] = Counter()
        self.filtered: Counter[str] = Counter()

    def enter(self, count: int = 1) -> None:
        self.entered += count

    def keep(self, count: int = 1) -> None:
        self.kept += count

    def fail(self, reason: str, count: int = 1) -> None:
        self.failed[reason] += count

    def drop(self, reason: str, count: int = 1) -> None:
        self.filtered[reason] += count

    def as_dict(self) -> dict[str, Any]:
        """Raises `AssertionError` if a row is unaccounted for: that is a bug in this package."""
        gone = self.failed.total() + self.filtered.total()
        assert self.entered == self.kept + gone, f"{self.entered} rows in, {self.kept} out, {gone} accounted for as gone"
        return {
            "in": self.entered,
            "out": self.kept,
            "failed": dict(sorted(self.failed.items())),
            "filtered": dict(sorted(self.filtered.items())),
        }


class RunFolder:
    """An opened run folder. Use it as a context manager: the lock is held until exit.

    `config` is the stage's resolved configuration as plain JSON values. A dry run (see `Limits`) takes no lock and changes
    nothing in the folder: it writes to a temporary folder, which is deleted. The same holds for a process that `follows` the
    owner of the folder in distributed training. `renamed` maps old option names to new ones, for folders from the previous
    release.
    """

    def __init__(
        self,
        path: Path,
        *,
        stage: str,
        config: Mapping[str, Any],
        overwrite: bool = False,
        limits: Limits | None = None,
        follows: bool = False,
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        self.run = path.parent.name
        path = _followed(path)
        self.path, self.stage, self.limits = path, stage, limits or Limits()
        self.effort = UsageLog(path)
        self.probing: tuple[frozenset[str], int] = (frozenset(), 0)
        """The names of the rows in a probe, and the number of all rows."""
        self._config, self._not_hashed, self._extends = flatten(config), listed(config), listed(config, EXTENDS)
        self._depends: dict[str, str] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._facts: dict[str, Any] = {}
        self._trouble: Counter[str] = Counter()
        self._scratch: Path | None = None
        self._only_looks = follows or self.limits.dry_run
        self._overwrite, self._renamed = overwrite, renamed or {}
        self._lock = filelock.FileLock(path.parent / f".{path.name}.lock")

    def __enter__(self) -> Self:
        if self._only_looks:
            self._scratch = Path(tempfile.mkdtemp())
            return self
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunConflict(f"{self.path} is in use by another process; wait for it, or set name=") from None
        if self._overwrite and self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        clear_unfinished(self.path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.effort.close()
        self._lock.release()
        self._tell_failures(error)
        if self._scratch is not None:
            shutil.rmtree(self._scratch)

    def _tell_failures(self, error: BaseException | None) -> None:
        """Report why rows failed, as the last log line or in the error that ends the stage."""
        if self._only_looks or (line := failures_in(self.path)) is None:
            return
        if error is None:
            LOG.warning(f"{self.path}: {line}")
        elif isinstance(error, DeepCriticError) and not isinstance(error, RunConflict):
            error.args = (f"{error}; {line}",)

    def __truediv__(self, name: str) -> Path:
        return (self._scratch or self.path) / name

    def begin(self, **depends: str | Path) -> bool:
        """Declare what the stage depends on (a Path stands for its file's content). Returns True if there is work to do.

        A change that keeps existing samples (`_extends_`) restarts a finished stage. For any other change, raises `RunConflict`
        naming the first key that differs.
        """
        self._depends = {
            name: f"sha256:{file_sha256(existing(value, name))}" if isinstance(value, Path) else value
            for name, value in depends.items()
        }
        asked = {**self._config, **{f"{CONTENT}{name}": value for name, value in self._depends.items()}}
        extensions, manifest = (self._compared(asked), self.manifest) if not self.is_new else ([], None)
        if manifest is not None and not manifest.get("incomplete") and not extensions:
            LOG.info(f"{self.path}: already finished with this configuration; nothing to do")
            return False
        for change in extensions:
            before = _told(change.before)
            LOG.info(f"{self.path}: continues with {change.key}={change.now} (before: {before}); existing replies are kept")
        if self._only_looks:
            return True
        if manifest is not None:
            if not extensions:
                LOG.info(f"{self.path}: retrying the {manifest['incomplete']} failed requests")
            (self.path / MANIFEST).unlink()
        write_json(self.path / "config.json", asked)
        self.effort.open()
        return True

    def _compared(self, asked: Mapping[str, Any]) -> list[Change]:
        """The changes that extend the folder's contents. Raises `RunConflict` for any other."""
        before, kept = _read(self.path / "config.json"), self._kept()
        if before is None:
            if kept:
                raise RunConflict(
                    f"{self.path} has no config.json, so the settings of its {kept[0].name} are unknown; "
                    "set another run= or name=, or start over with overwrite=true"
                )
            return []
        before = {self._renamed.get(key, key): value for key, value in before.items()}
        conflicts, extensions = changes(before, asked, skipped=self._not_hashed, extended=self._extends)
        if conflicts and kept:
            raise RunConflict(f"{self.path} was started with another {_explained(conflicts[0], self._extends)}")
        if conflicts and not self._only_looks:  # failed rows of settings that no longer apply
            for file in self.path.glob(FAILURES):
                file.unlink()
        return extensions if kept else []

    def _kept(self) -> list[Path]:
        """The files that must not be mixed with another configuration's. Failed rows are not among them."""
        own = {"config.json", "README.md", UsageLog.FILE}
        there = sorted(self.path.iterdir()) if self.path.is_dir() else []
        entries = [entry for entry in there if entry.name not in own and entry.suffix != UNFINISHED and not entry.match(FAILURES)]
        return [
            entry
            for entry in entries
            if (entry.is_dir() and not _half_written(entry)) or (entry.is_file() and entry.stat().st_size)
        ]

    @property
    def is_new(self) -> bool:
        """Whether a dry run ignores existing rows."""
        return self._overwrite and self.limits.dry_run

    @property
    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None until the stage is finished."""
        return manifest_of(self.path)

    def ledger(self, name: str) -> Ledger:
        """The ledger of rows called `name`, created on first use."""
        return self._ledgers.setdefault(name, Ledger())

    def sampled_for_probe(
        self, rows: Iterable[_T], name: Callable[[_T], str], class_of: Callable[[_T], Hashable] | None = None
    ) -> list[_T]:
        """The rows to use: all, or with `probe` that many of them, the same ones at every start, in their order.

        `name` returns the `example_id` of a row. A hash of it decides, separately in each class.
        """
        everything = list(rows)
        if self.limits.probe is None:
            return everything
        names = [name(row) for row in everything]
        classes = None if class_of is None else [class_of(row) for row in everything]
        self.probing = (frozenset(names[position] for position in subset(names, self.limits.probe, classes)), len(everything))
        return [row for row in everything if name(row) in self.probing[0]]

    def account(self, facts: Mapping[str, Any], trouble: Mapping[str, int]) -> None:
        """Record the result of the stage's sampling for the manifest: figures, and counts of temporary failures by reason (see
        `Failure`)."""
        self._facts.update(facts)
        self._trouble.update(trouble)

    def require_complete(self) -> None:
        """For a stage that needs all of its samples: raises `StageIncomplete` if some had a temporary failure, and `Stopped` in a
        dry run or a probe."""
        if self.limits.trial:
            raise Stopped(f"{self.path}: no requests before the next step")
        if self._trouble:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(self._trouble.items()))
            raise StageIncomplete(
                f"{self.path}: {self._trouble.total()} requests failed ({reasons}; see failures.jsonl); "
                "completed replies are kept; rerun the same command to retry the failed ones"
            )

    def finish(self, **facts: Any) -> dict[str, Any]:
        """Write the manifest, which finishes the stage. `facts` are JSON values to add. Seconds, requests and retries cover all
        starts.

        If samples had temporary failures, raises `StageIncomplete` after writing. The next start retries those and rewrites the
        outputs.
        """
        self.effort.close()
        assert not self.limits.trial, "a dry run and a probe end before the stage does"
        files = {file.name: file_sha256(file) for file in sorted(self.path.glob("*.jsonl")) if file.name != UsageLog.FILE}
        manifest = {
            "stage": self.stage,
            "package": package_version(),
            "depends": self._depends,
            "counts": {name: ledger.as_dict() for name, ledger in self._ledgers.items()},
            "files": files,
            **self.effort.totals(),
            **self._facts,
            **facts,
        }
        if self._trouble:
            manifest["incomplete"] = self._trouble.total()
        write_cards(self.path, left_out=frozenset({UsageLog.FILE}))
        write_json(self.path / MANIFEST, manifest)
        self.require_complete()
        return manifest


def stage_folder(root: str | Path, run: str, stage: str, name: str | None = None) -> Path:
    """`root/run/stage[.name]`. Names are plain words: they become folder names.

    >>> stage_folder("runs", "demo", "evaluate", "base").as_posix()
    'runs/demo/evaluate.base'
    """
    for field, value in (("run", run), ("name", name or "x")):
        if not value or set(value) & set("/\\:\0") or value.startswith("."):
            raise InputError("not a valid folder name", field=field, found=value, expected="letters, digits, '-' and '_'")
    return Path(root) / run / (f"{stage}.{name}" if name else stage)


def existing(path: Path, field: str) -> Path:
    """`path` if it is a file. Otherwise raises an error that names its option."""
    if not path.is_file():
        raise InputError("no such file", field=field, found=os.fspath(path), expected="the path of an existing file")
    return path


def package_version() -> str:
    """The installed version, or `unknown` in a checkout that is not installed."""
    with contextlib.suppress(PackageNotFoundError):
        return version("deepcritic")
    return "unknown"


def _read(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None


def _followed(path: Path) -> Path:
    """The target of a link, so that both names share a lock. Raises `InputError` if it is not a folder."""
    try:
        path = path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError):  # a link to itself
        raise InputError("broken link", file=path, expected="a folder") from None
    if path.exists() and not path.is_dir():
        raise InputError("not a folder", file=path, expected="a folder or a free name")
    return path


def _half_written(folder: Path) -> bool:
    """Whether it is a checkpoint whose writer was killed: the file `COMPLETE` is written last."""
    return folder.name.startswith("checkpoint-") and not (folder / COMPLETE).is_file()


def _told(value: Any) -> str:
    return "the default" if value is None else str(value)


def _explained(change: Change, extends: set[str]) -> str:
    said = f"{change.key}: {change.before!r}, now {change.now!r}; "
    if change.key in extends:
        return said + "samples can only be added; set another run= or name="
    return said + "set another run= or name=, or start over with overwrite=true"

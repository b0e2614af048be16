"""The registry: versions and aliases in the database, their files in a folder, published together or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import BrokenModel, DatabaseUnavailable, UnknownModel
from quadra_matrix.events import Hook, ignore
from quadra_matrix.events.models import AliasMoved, ModelPublished
from quadra_matrix.store.models import Alias, Catalogue, ModelStore, ModelVersion

log = logging.getLogger(__name__)

PRODUCTION, CANDIDATE = "production", "candidate"

MOST_AGE = 1.0
"""Seconds after which the database is asked again even if no change was noticed: changes that another machine made."""

LEFTOVER_AGE = 24 * 3600.0
"""Seconds after which an unfinished publication is cleared away."""


class Registry:
    """Publishes and finds models. May be shared between threads; each process has its own over the same folder.

    Every process sees a change with its next call: a change grows a file by one byte, and a look at its size, two
    microseconds, tells whether what was read from the database still holds.
    """

    def __init__(self, store: ModelStore, folder: Path, *, hook: Hook = ignore, clock: Clock = SYSTEM_CLOCK) -> None:
        self._store, self._folder, self._hook, self._clock = store, folder, hook, clock
        self._changes = str(folder / ".changes")
        self._lock = threading.Lock()
        self._seen = -1, 0.0
        self._catalogue = Catalogue({}, {})
        folder.mkdir(parents=True, exist_ok=True)

    def publish(self, draft: ModelVersion, files: Mapping[str, bytes]) -> tuple[ModelVersion, tuple[str, ...]]:
        """Number the draft, store its files and its record, and return it with the aliases that point at it.

        ``candidate`` moves to every new version; the first one of a model also becomes ``production``. The files
        are on disk before the record is; a reader finds all of a version or nothing.
        """
        self._clear_leftovers()
        with self._written(files) as prepared:
            published = self._store.publish(
                draft.created(self._clock.now()),
                {CANDIDATE: True, PRODUCTION: False},
                lambda number: self._place(prepared, draft.model, number),
            )
        self._changed()
        aliases = self.catalogue().aliases[published.model]
        self._hook(ModelPublished(published.model, published.version, published.engine))
        return published, tuple(sorted(name for name, version in aliases.items() if version == published.version))

    def find(self, model: str, *, version: int | None = None, alias: str | None = None) -> ModelVersion:
        """Return a version by its number, or else by an alias, by default ``production``.

        Raises ``UnknownModel`` naming what exists.
        """
        catalogue = self.catalogue()
        versions = catalogue.versions.get(model)
        if versions is None:
            raise UnknownModel(f"model {model!r}", sorted(catalogue.versions))
        if version is None:
            aliases = catalogue.aliases.get(model, {})
            version = aliases.get(alias or PRODUCTION)
            if version is None:
                raise UnknownModel(f"alias {alias or PRODUCTION!r} of model {model!r}", sorted(aliases))
        found = versions.get(version)
        if found is None:
            raise UnknownModel(f"version {version} of model {model!r}", map(str, sorted(versions)))
        return found

    def move(self, model: str, alias: str, version: int) -> Alias:
        """Point an alias at a version of a model, making the alias if needed."""
        moved = Alias(model, alias, version, self._clock.now())
        if not self._store.move(moved):
            self.find(model, version=version)  # says what exists
            raise UnknownModel(f"version {version} of model {model!r}", ())
        self._changed()
        self._hook(AliasMoved(model, alias, version))
        return moved

    def catalogue(self) -> Catalogue:
        """Return every version and alias: as of the last change that any process of this machine made.

        While the database is away, what was read last goes on to hold. Raises ``DatabaseUnavailable`` only where
        nothing was ever read.
        """
        now, size = self._clock.monotonic(), self._size()
        seen, asked = self._seen
        if size == seen and now - asked < MOST_AGE:
            return self._catalogue
        # What is merely old is good enough for everybody but the one thread that reads it again.
        if not self._lock.acquire(blocking=size != seen):
            return self._catalogue
        try:
            self._refresh(now)
            return self._catalogue
        finally:
            self._lock.release()

    def _refresh(self, now: float) -> None:
        """Read the database again unless another thread just did. Called with the lock held."""
        # The size is read before the database: a change in between is noticed by the next call.
        size, (seen, asked) = self._size(), self._seen
        if size == seen and now - asked < MOST_AGE:
            return
        try:
            self._catalogue = self._store.catalogue(self._catalogue)
        except DatabaseUnavailable as away:
            if seen < 0:
                raise
            log.warning("models are served as last known, the database is away: %s", away)
            now = self._clock.monotonic()  # waiting for it took a while; the next try comes as long after
        self._seen = size, now

    def read(self, version: ModelVersion, file: str) -> bytes:
        """Return a file of a version. Raises ``BrokenModel`` where it is missing or is not what was published."""
        try:
            content = (self._folder / version.model / str(version.version) / file).read_bytes()
        except OSError as failed:
            raise BrokenModel(version.model, version.version, f"{file} cannot be read: {failed.strerror}") from failed
        if hashlib.sha256(content).hexdigest() != version.files.get(file):
            raise BrokenModel(version.model, version.version, f"{file} was changed after its publication")
        return content

    @contextlib.contextmanager
    def _written(self, files: Mapping[str, bytes]) -> Iterator[Path]:
        """Yield a folder that holds the files, safe on disk; it is removed unless it was moved away."""
        prepared = self._folder / f".new-{secrets.token_hex(8)}"
        prepared.mkdir()
        try:
            for name, content in files.items():
                with (prepared / name).open("wb") as written:
                    written.write(content)
                    written.flush()
                    os.fsync(written.fileno())
            _sync(prepared)
            yield prepared
        finally:
            shutil.rmtree(prepared, ignore_errors=True)

    def _place(self, prepared: Path, model: str, number: int) -> None:
        """Move prepared files to where version ``number`` lives. Called while no other publication runs."""
        home = self._folder / model
        home.mkdir(exist_ok=True)
        place = home / str(number)
        if place.exists():
            shutil.rmtree(place)  # its publication ended after this step and before the record
        prepared.rename(place)
        _sync(home)

    def _clear_leftovers(self) -> None:
        """Remove what publications left that were killed long ago."""
        before = self._clock.now() - LEFTOVER_AGE
        for leftover in self._folder.glob(".new-*"):
            with contextlib.suppress(OSError):  # another process clears the same one
                if leftover.stat().st_mtime < before:
                    shutil.rmtree(leftover)

    def _changed(self) -> None:
        """Let every process know that the database holds something new."""
        with Path(self._changes).open("ab") as changes:
            changes.write(b".")

    def _size(self) -> int:
        try:
            return os.stat(self._changes).st_size  # noqa: PTH116  a Path costs as much again, on every prediction
        except FileNotFoundError:
            return 0


def _sync(folder: Path) -> None:
    """Write a folder's own entries to disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

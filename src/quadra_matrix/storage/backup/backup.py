"""Make a backup, verify one, restore one; each step is undone when a later one fails."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from quadra_matrix import __version__
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import BackupBusy, BackupUnreadable, FileChanged, RestoreRefused
from quadra_matrix.storage.backup.archive import Checked, fingerprint, read, write
from quadra_matrix.storage.backup.manifest import Manifest
from quadra_matrix.storage.backup.target import SEALED, Entry, Target, name_of
from quadra_matrix.storage.migrations import knows
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.snapshot import Snapshot, count_rows, destination, take

DATABASE = "database"
"""Name of the database's dump inside an archive; files stand below their folder's name."""

ATTEMPTS = 3
"""How often a backup begins anew when a file changes or vanishes while it is read."""

Report = Callable[[str], None]
"""Is told each step, in words."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is backed up and restored: a database and folders by name, with a folder of the same disk to work in."""

    database: Database
    folders: Mapping[str, Path]
    work: Path


@dataclass(frozen=True, slots=True)
class Keys:
    """What protects an archive; each may be absent."""

    secret: str | None = None
    """Signs the manifest, and recognises it."""
    recipients: Sequence[str] = ()
    """Public keys of age to encrypt to."""
    identity: Path | None = None
    """File with the secret key of age that decrypts."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    is_signed: bool
    aside: Path | None
    """Folder with what stood there before; None when nothing did."""


def back_up(
    place: Place, target: Target, keys: Keys, *, clock: Clock = SYSTEM_CLOCK, report: Report = lambda step: None
) -> tuple[Entry, Manifest]:
    """Put a new backup into the target, and return it.

    The database is copied first. Published files never change and stand before their row does, so every file that the
    copy refers to is there, unless it is deleted meanwhile: then the backup begins anew. A killed backup leaves nothing
    in the target. Raises ``BackupBusy`` while another one of this place is made.
    """
    with _working(place) as work:
        for left in reversed(range(ATTEMPTS)):
            made = clock.now()
            try:
                report("copying the database")
                manifest, files = _collect(place, work, made)
                report(f"packing {len(files)} files, {manifest.size / 1e6:.1f} MB")
                archive = work / "archive"
                with _new_file(archive) as output:
                    write(output, manifest, files, keys.secret)
                    output.flush()
                    os.fsync(output.fileno())
                break
            except (FileChanged, FileNotFoundError):
                if not left:
                    raise
        report("verifying")
        with archive.open("rb") as written:
            read(written, secret=keys.secret, keep=lambda name: None)
        name = name_of(made, secrets.token_hex(3), is_encrypted=bool(keys.recipients))
        if keys.recipients:
            report("encrypting")
            archive = _encrypted(archive, keys.recipients)
        report(f"storing {name}")
        target.put(name, archive)
        return Entry(name, made, archive.stat().st_size, bool(keys.recipients)), manifest


def verify(place: Place, target: Target, name: str, keys: Keys) -> Checked:
    """Read a backup to its end, and compare every byte; raise ``BackupUnreadable`` with what is wrong."""
    with _working(place) as work, _fetched(target, name, keys, work).open("rb") as archive:
        return read(archive, secret=keys.secret, keep=lambda member: None)


def restore(
    place: Place,
    target: Target,
    name: str,
    keys: Keys,
    *,
    overwrite: bool = False,
    accept_unsigned: bool = False,
    clock: Clock = SYSTEM_CLOCK,
    report: Report = lambda step: None,
) -> Restored:
    """Make the place what it was at the time of the backup.

    The whole archive is unpacked beside the place and compared with its manifest before anything is touched. A place
    that holds something is refused without ``overwrite``; with it, files are kept aside. With a secret at hand an
    archive that nobody signed is refused unless ``accept_unsigned``. Raises ``RestoreRefused`` with the reason,
    ``BackupUnreadable`` with what is wrong. Nothing else may use the place meanwhile.
    """
    with _working(place) as work:
        report("fetching and verifying")
        unpacked = work / "unpacked"
        with _fetched(target, name, keys, work).open("rb") as archive:
            checked = read(archive, secret=keys.secret, keep=lambda member: _new_file(unpacked / member))
        if keys.secret and not checked.is_signed and not accept_unsigned:
            raise RestoreRefused("it is not signed; accept that only if you know where it comes from")
        aside = place.work.parent / f"replaced-{int(clock.now())}-{secrets.token_hex(3)}"
        _check(place, unpacked, checked.manifest, overwrite=overwrite)
        report("putting everything in its place")
        _put(place, unpacked, checked.manifest, aside)
    return Restored(checked.manifest, checked.is_signed, aside if aside.exists() else None)


def _collect(place: Place, work: Path, made: float) -> tuple[Manifest, dict[str, Path]]:
    """Copy the database and return the manifest of all that must go into the archive, with each member's file."""
    dump = work / DATABASE
    dump.unlink(missing_ok=True)
    taken = take(place.database, dump)
    files = {DATABASE: dump}
    for folder, path in place.folders.items():
        found = sorted(file for file in path.rglob("*") if _is_finished(file.relative_to(path)) and file.is_file())
        files |= {f"{folder}/{file.relative_to(path).as_posix()}": file for file in found}
    members = {name: fingerprint(file) for name, file in files.items()}
    return Manifest(made, __version__, taken.dialect, taken.revision, taken.rows, members), files


def _is_finished(path: Path) -> bool:
    """Tell whether the file bears its last name: what is still being written has a part with a leading dot."""
    return not any(part.startswith(".") for part in path.parts)


def _check(place: Place, unpacked: Path, manifest: Manifest, *, overwrite: bool) -> None:
    """Raise ``RestoreRefused`` when the unpacked backup cannot or must not go into the place."""
    if manifest.dialect != place.database.dialect:
        raise RestoreRefused(
            f"it holds a {manifest.dialect} database, the destination is {place.database.dialect}; "
            "restore it into its own kind"
        )
    if manifest.revision is not None and not knows(manifest.revision):
        raise RestoreRefused(
            f"its tables are at revision {manifest.revision}, which version {__version__} does not know; "
            f"install version {manifest.version} or newer"
        )
    strange = {name.partition("/")[0] for name in manifest.members} - {DATABASE, *place.folders}
    if strange or not (unpacked / DATABASE).is_file():
        raise BackupUnreadable(f"it holds what no backup of ours does: {sorted(strange) or 'no database'}")
    into = destination(place.database)
    into.check(unpacked / DATABASE, Snapshot(manifest.dialect, manifest.revision, dict(manifest.rows)))
    if not overwrite:
        full = [str(path) for path in place.folders.values() if path.is_dir() and any(path.iterdir())]
        full += [] if into.is_empty() else ["the database"]
        if full:
            raise RestoreRefused(f"the destination is not empty: {', '.join(full)}")


def _put(place: Place, unpacked: Path, manifest: Manifest, aside: Path) -> None:
    """Move folders in, then the database, the step that may fail; what was moved goes back if it does."""
    with contextlib.ExitStack() as undo:
        for folder, path in place.folders.items():
            if path.exists():
                aside.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.move(path, aside / folder)
                undo.callback(shutil.move, aside / folder, path)
            new = unpacked / folder
            new.mkdir(exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(new, path)
            undo.callback(shutil.rmtree, path)
        destination(place.database).put(unpacked / DATABASE, aside)
        undo.pop_all()
    found = count_rows(place.database)
    if found != dict(manifest.rows):
        different = sorted(table for table in {*found, *manifest.rows} if found.get(table) != manifest.rows.get(table))
        raise RestoreRefused(f"restored, but these tables do not have the rows they had: {', '.join(different)}")


def _fetched(target: Target, name: str, keys: Keys, work: Path) -> Path:
    """Return the backup as a plain archive in ``work``."""
    fetched = work / "fetched"
    _new_file(fetched).close()
    target.fetch(name, fetched)
    if not name.endswith(SEALED):
        return fetched
    if keys.identity is None:
        raise RestoreRefused("it is encrypted; name the file with the secret key that reads it")
    from quadra_matrix.storage.backup.age import decrypt  # the extra is needed only for encrypted backups

    plain = work / "plain"
    _new_file(plain).close()
    decrypt(fetched, plain, keys.identity)
    fetched.unlink()
    return plain


def _encrypted(archive: Path, recipients: Sequence[str]) -> Path:
    from quadra_matrix.storage.backup.age import encrypt  # the extra is needed only for encrypted backups

    sealed = archive.with_name("sealed")
    encrypt(archive, sealed, recipients)
    archive.unlink()
    return sealed


def _new_file(path: Path) -> IO[bytes]:
    """Open a new file that only this user reads."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


@contextlib.contextmanager
def _working(place: Place) -> Iterator[Path]:
    """Yield an empty folder that is ours alone and gone afterwards; what a killed run left is removed too."""
    place.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(place.work / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupBusy(place.work) from None
        scratch = place.work / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(descriptor)

"""One file with everything a backup holds: a compressed tar whose first member says what must follow.

The manifest goes first, so a reader knows the kind, the signature and every size before it unpacks a byte. The price
is that the writer reads each file twice.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from quadra_matrix.errors import BackupUnreadable, FileChanged
from quadra_matrix.storage.backup.manifest import Manifest, Member, decode, encode, is_signed_by, sign

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"

CHUNK = 1024 * 1024
"""Bytes that are read at a time."""

MANIFEST_LIMIT = 256 * 1024 * 1024
"""Most bytes of a manifest: some million files."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An archive whose every byte agrees with its manifest."""

    manifest: Manifest
    is_signed: bool
    """The manifest was signed with the secret that the reader has; without one only checksums were compared."""


def fingerprint(file: Path) -> Member:
    """Return the size and the checksum of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
        return Member(opened.tell(), digest.hexdigest())


def write(output: IO[bytes], manifest: Manifest, files: Mapping[str, Path], secret: str | None) -> None:
    """Write the manifest, its signature when there is a ``secret``, and every member.

    Raises ``FileChanged`` when a file is no longer what the manifest says.
    """
    text = encode(manifest)
    with (
        gzip.GzipFile(fileobj=output, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        _add_text(tar, MANIFEST, text)
        if secret is not None:
            _add_text(tar, SIGNATURE, sign(text, secret).encode())
        for name, member in manifest.members.items():
            _add_file(tar, name, files[name], member)


def read(source: IO[bytes], *, secret: str | None, keep: Callable[[str], IO[bytes] | None]) -> Checked:
    """Read the whole archive and compare it with its manifest.

    ``keep`` is called with each member's name, which is safe to use below a folder, and may return a file to write it
    to. Raises ``BackupUnreadable`` with what is wrong: cut short, changed, a member too many, a foreign signature.
    """
    try:
        # "r|" alone is read to the end, where gzip compares its own checksum: nothing may follow the last member.
        with gzip.GzipFile(fileobj=source, mode="rb") as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            members = iter(tar)
            text = _text(tar, members, MANIFEST)
            manifest = decode(text)
            waiting = dict(manifest.members)
            is_signed = False
            for found in members:
                if (
                    found.name == SIGNATURE
                    and found.isreg()
                    and not is_signed
                    and len(waiting) == len(manifest.members)
                ):
                    is_signed = _accept(text, _content(tar, found, limit=64).decode("ascii", "replace"), secret)
                    continue
                expected = waiting.pop(found.name, None)
                if expected is None or not found.isreg() or found.size != expected.size or not _is_inside(found.name):
                    raise BackupUnreadable(f"the member {found.name[:200]!r} is not what its manifest says")
                _copy(tar, found, expected, keep(found.name))
            while packed.read(CHUNK):
                pass
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError) as broken:
        raise BackupUnreadable(f"it is cut short or damaged: {broken}") from broken
    if waiting:
        raise BackupUnreadable(f"it is cut short: {len(waiting)} of {len(manifest.members)} members are missing")
    return Checked(manifest, is_signed)


def peek(source: IO[bytes]) -> Manifest:
    """Return the manifest alone, from the head of the archive; nothing is verified."""
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            return decode(_text(tar, iter(tar), MANIFEST))
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError) as broken:
        raise BackupUnreadable(f"it is cut short or damaged: {broken}") from broken


def _accept(text: bytes, signature: str, secret: str | None) -> bool:
    if secret is None:
        return False
    if not is_signed_by(text, signature, secret):
        raise BackupUnreadable("it was changed, or signed with another secret key")
    return True


def _add_text(tar: tarfile.TarFile, name: str, text: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(text), 0o600
    tar.addfile(about, io.BytesIO(text))


def _add_file(tar: tarfile.TarFile, name: str, file: Path, member: Member) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode = member.size, 0o600
    with file.open("rb") as opened:
        reader = _Reader(opened, member.size)
        try:
            tar.addfile(about, reader)
        except OSError as short:  # tarfile's word for a file that became shorter
            raise FileChanged(file) from short
        if reader.digest.hexdigest() != member.sha256:  # a log that grew meanwhile is whole up to its size
            raise FileChanged(file)


class _Reader(io.RawIOBase):
    """Passes on what it reads, and remembers its checksum."""

    def __init__(self, opened: IO[bytes], size: int) -> None:
        self._opened, self.digest, self._left = opened, hashlib.sha256(), size

    def read(self, size: int = -1) -> bytes:
        chunk = self._opened.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(chunk)
        self.digest.update(chunk)
        return chunk


def _text(tar: tarfile.TarFile, members: Iterator[tarfile.TarInfo], name: str) -> bytes:
    first = next(members, None)
    if first is None or first.name != name or not first.isreg():
        raise BackupUnreadable("it is not a backup of ours")
    return _content(tar, first, limit=MANIFEST_LIMIT)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, *, limit: int) -> bytes:
    opened = tar.extractfile(member)
    if member.size > limit or opened is None:
        raise BackupUnreadable(f"its {member.name} is larger than {limit} bytes")
    return opened.read()


def _copy(tar: tarfile.TarFile, found: tarfile.TarInfo, expected: Member, output: IO[bytes] | None) -> None:
    """Copy one member to ``output`` if there is one, and compare its checksum."""
    digest = hashlib.sha256()
    opened = tar.extractfile(found)
    assert opened is not None  # a regular file
    try:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            if output is not None:
                output.write(chunk)
    finally:
        if output is not None:
            output.close()
    if digest.hexdigest() != expected.sha256:
        raise BackupUnreadable(f"the member {found.name[:200]!r} was changed")


def _is_inside(name: str) -> bool:
    """Tell whether the name stays below the folder it is unpacked in."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name

"""An archive is read to its last byte, and only one that is exactly what was written passes."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.errors import BackupUnreadable, FileChanged
from quadra_matrix.storage.backup.archive import MANIFEST, Checked, fingerprint, peek, read, write
from quadra_matrix.storage.backup.manifest import Manifest, Member, decode, encode

SECRET = "a secret of the service"


def made(folder: Path, secret: str | None = SECRET, **contents: bytes) -> bytes:
    """Return an archive of files with these contents."""
    files = {}
    for name, content in (contents or {"one": b"1" * 70_000, "two": b""}).items():
        files[name] = folder / name
        files[name].write_bytes(content)
    members = {name: fingerprint(file) for name, file in files.items()}
    output = io.BytesIO()
    write(output, Manifest(1.5, "0.1", "sqlite", "v1", {"jobs": 2}, members), files, secret)
    return output.getvalue()


def checked(archive: bytes, secret: str | None = SECRET) -> Checked:
    return read(io.BytesIO(archive), secret=secret, keep=lambda name: None)


def repacked(archive: bytes, change: str, to: bytes | None) -> bytes:
    """Return the archive with the content of one member changed (None drops it), everything else made to fit."""
    output = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as old,
        tarfile.open(fileobj=output, mode="w:gz") as new,
    ):
        for member in old:
            opened = old.extractfile(member)
            assert opened is not None
            content = opened.read() if member.name != change else to
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    return output.getvalue()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    archive = made(tmp_path, one=b"first", two=b"second")
    kept = {name: io.BytesIO() for name in ("one", "two")}
    contents = {}

    class Kept(io.BytesIO):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def close(self) -> None:
            contents[self.name] = self.getvalue()
            super().close()

    found = read(io.BytesIO(archive), secret=SECRET, keep=Kept)

    assert contents == {"one": b"first", "two": b"second"}
    assert list(found.manifest.members) == list(kept)
    assert (found.is_signed, found.manifest.rows, found.manifest.size) == (True, {"jobs": 2}, 11)
    assert peek(io.BytesIO(archive)) == found.manifest


@pytest.mark.parametrize(("write_with", "read_with"), [(None, None), (SECRET, None), (None, SECRET)])
def test_without_both_secrets_only_checksums_are_compared(
    tmp_path: Path, write_with: str | None, read_with: str | None
) -> None:
    assert not checked(made(tmp_path, write_with), read_with).is_signed


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_passes(tmp_path_factory: pytest.TempPathFactory, place: int, by: int) -> None:
    archive = made(tmp_path_factory.mktemp("archive"), one=bytes(range(256)) * 8)
    changed = bytearray(archive)
    changed[place % len(archive)] ^= by

    try:
        checked(bytes(changed))
    except BackupUnreadable:
        return
    # Some bits of gzip's header and of its code tables mean nothing: the content is the same.
    assert gzip.decompress(changed) == gzip.decompress(archive)


@given(st.integers(0, 10_000))
def test_no_archive_cut_short_passes(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    archive = made(tmp_path_factory.mktemp("archive"), one=bytes(range(256)) * 8)

    with pytest.raises(BackupUnreadable):
        checked(archive[: length % len(archive)])


def test_a_manifest_that_fits_a_changed_member_lacks_the_signature(tmp_path: Path) -> None:
    archive = made(tmp_path, one=b"good", two=b"")
    evil = tmp_path / "evil"
    evil.write_bytes(b"evil")
    before = peek(io.BytesIO(archive))
    forged = encode(
        Manifest(
            before.made, before.version, before.dialect, before.revision, before.rows,
            {**before.members, "one": fingerprint(evil)},
        )
    )  # fmt: skip
    changed = repacked(repacked(archive, "one", b"evil"), MANIFEST, forged)

    assert not checked(changed, secret=None).is_signed  # nobody without the secret can tell
    with pytest.raises(BackupUnreadable, match="changed, or signed with another"):
        checked(changed)


@pytest.mark.parametrize(
    ("member", "content"), [("one", None), ("one", b"x"), (MANIFEST, None), (MANIFEST, b"{}"), ("two", b"longer")]
)
def test_a_repacked_archive_does_not_pass(tmp_path: Path, member: str, content: bytes | None) -> None:
    with pytest.raises(BackupUnreadable):
        checked(repacked(made(tmp_path), member, content))


@pytest.mark.parametrize("name", ["../up", "/etc/x", "a/../../b", "a\\b"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    output = io.BytesIO()
    write(output, Manifest(1.0, "0.1", "sqlite", None, {}, {name: fingerprint(file)}), {name: file}, None)

    with pytest.raises(BackupUnreadable, match="not what its manifest says"):
        checked(output.getvalue())


def test_a_link_is_refused(tmp_path: Path) -> None:
    text = encode(Manifest(1.0, "0.1", "sqlite", None, {}, {"one": Member(0, "x")}))
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as tar:
        about = tarfile.TarInfo(MANIFEST)
        about.size = len(text)
        tar.addfile(about, io.BytesIO(text))
        link = tarfile.TarInfo("one")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    with pytest.raises(BackupUnreadable, match="not what its manifest says"):
        checked(output.getvalue())


@pytest.mark.parametrize(
    "content", [b"", b"not an archive", gzip.compress(b"", mtime=0), gzip.compress(b"text", mtime=0)]
)
def test_a_foreign_file_is_refused(content: bytes) -> None:
    for reader in (checked, lambda archive: peek(io.BytesIO(archive))):
        with pytest.raises(BackupUnreadable):
            reader(content)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b"null", b'{"format": 2}', b"[" * 100_000,
        encode(Manifest(1.0, "0", "sqlite", None, {"t": -1}, {})),
        encode(Manifest(1.0, "0", "sqlite", None, {}, {"m": Member(-1, "")})),
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_of_ours_is_refused(text: bytes) -> None:
    with pytest.raises(BackupUnreadable):
        decode(text)


def test_a_file_that_changes_between_the_two_readings_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for before, after in ((b"12345", b"12x45"), (b"12345", b"123")):
        file.write_bytes(before)
        members = {"file": fingerprint(file)}
        file.write_bytes(after)

        with pytest.raises(FileChanged):
            write(io.BytesIO(), Manifest(1.0, "0", "sqlite", None, {}, members), {"file": file}, None)


def test_a_log_that_grows_is_kept_up_to_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\n")
    members = {"log": fingerprint(file)}
    file.write_bytes(b"one\ntwo\n")
    output = io.BytesIO()

    write(output, Manifest(1.0, "0", "sqlite", None, {}, members), {"log": file}, None)

    assert checked(output.getvalue(), None).manifest.members["log"].size == 4

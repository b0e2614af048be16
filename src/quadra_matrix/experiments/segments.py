"""The embedded log: files of tab-separated lines, one open segment for each process and kind of event.

Every line ends with a mark. A crash can leave a torn last line; it has no mark, so readers skip it, and the next
process begins a new file instead of writing behind it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.experiments.log import Batch, Conversion, Exposure
from quadra_matrix.experiments.serve import Cell

SEGMENT_BYTES = 256 * 1024 * 1024
"""A segment that has grown to this size is closed and followed by another."""

EXPOSURE_COLUMNS = ("ts", "experiment", "phase", "variant", "unit", "covariate", "mark")
CONVERSION_COLUMNS = ("ts", "event_id", "experiment", "phase", "variant", "unit", "metric", "value", "mark")
"""``ts`` is in microseconds since the epoch; an absent value is an empty column."""

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only fsync

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(u[0-9a-f]{4}|.)")
_RESTORED = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r", "0": "\0"}
_ESCAPES = {ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r", 0: "\\0"}


class SegmentFolder:
    """A ``Sink`` of files below ``folder``. One thread of each process may write; any number of processes may."""

    def __init__(self, folder: Path, *, clock: Clock = SYSTEM_CLOCK, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.exposures = _Segment(folder / "exposures", clock, segment_bytes)
        self.conversions = _Segment(folder / "conversions", clock, segment_bytes)

    def write(self, batch: Batch) -> None:
        """Return once the batch is durable; raise ``OSError`` when the disk refuses it."""
        before = self.exposures.size
        if batch.exposures:
            self.exposures.append(_exposure_lines(batch.exposures))
        if batch.conversions:
            try:
                self.conversions.append(_conversion_lines(batch.conversions))
            except OSError:
                # All or nothing: the whole batch comes again, so the exposures must not stay.
                self.exposures.cut(before)
                raise

    def close(self) -> None:
        """Close the open segments; the next write begins new ones."""
        self.exposures.close()
        self.conversions.close()


class _Segment:
    """The file that a process appends to, and its successors."""

    def __init__(self, folder: Path, clock: Clock, limit: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._clock, self._limit = folder, clock, limit
        self._file: int | None = None
        self.size = 0

    def append(self, lines: bytes) -> None:
        """Write and sync; on failure, remove what was written and raise."""
        if self._file is None or self.size >= self._limit:
            self._begin()
        assert self._file is not None
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            _sync(self._file)
        except OSError:
            self.cut(self.size)
            raise
        self.size += len(lines)

    def cut(self, size: int) -> None:
        """Shorten the file to ``size`` and leave it.

        After a failed sync the kernel may have dropped the pages and report success the next time, so nothing more is
        written to this file. If even the cut fails, readers see whole lines twice, and count repeated ids once.
        """
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, size)
        except OSError:  # the disk is worse than full; the reason that matters is already on its way up
            return
        finally:
            self.close()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            os.close(self._file)
        self._file, self.size = None, 0

    def _begin(self) -> None:
        """Open a new file and make its name durable."""
        self.close()
        name = f"{int(self._clock.now() * 1e6):017d}-{os.urandom(6).hex()}.tsv"
        self._file = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class _Keys(dict[Cell, str]):
    """The middle of an exposure's line, made once for each cell."""

    def __missing__(self, cell: Cell) -> str:
        self[cell] = text = f"\t{escaped(cell.experiment)}\t{cell.phase}\t{escaped(cell.variant)}\t"
        return text


def _exposure_lines(exposures: Sequence[Exposure]) -> bytes:
    """Return the lines of exposures. Looking once at the whole text is cheaper than looking at each unit."""
    keys = _Keys()
    lines = [
        f"{int(at * 1e6)}{keys[cell]}{unit}\t{'' if covariate is None else covariate}\t.\n"
        for at, cell, unit, covariate in exposures
    ]
    text = "".join(lines)
    if not _is_clean(text, len(lines), len(EXPOSURE_COLUMNS)):
        clean = [(at, cell, escaped(unit), covariate) for at, cell, unit, covariate in exposures]
        text = "".join(
            f"{int(at * 1e6)}{keys[cell]}{unit}\t{'' if covariate is None else covariate}\t.\n"
            for at, cell, unit, covariate in clean
        )
    return text.encode()


def _conversion_lines(conversions: Sequence[Conversion]) -> bytes:
    """Return the lines of conversions."""
    return "".join(
        "\t".join(
            (
                str(int(one.at * 1e6)),
                escaped(one.event_id),
                escaped(one.experiment),
                str(one.phase),
                escaped(one.variant),
                escaped(one.unit or ""),
                escaped(one.metric),
                "" if one.value is None else repr(float(one.value)),
                ".\n",
            )
        )
        for one in conversions
    ).encode()


def _is_clean(text: str, lines: int, columns: int) -> bool:
    """Tell whether no field holds a separator, an escape or what cannot be encoded."""
    return (
        text.count("\t") == lines * (columns - 1)
        and text.count("\n") == lines
        and "\\" not in text
        and "\r" not in text
        and "\0" not in text
        and (text.isascii() or not _SURROGATE.search(text))
    )


def escaped(field: str) -> str:
    """Return a field without separators; different fields stay different."""
    field = field.translate(_ESCAPES)
    return field if field.isascii() else _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", field)


def unescaped(field: str) -> str:
    """Return the field that was written."""
    return _ESCAPED.sub(_restore, field)


def _restore(found: re.Match[str]) -> str:
    """Return the character behind one escape."""
    code = found[1]
    return _RESTORED[code] if len(code) == 1 else chr(int(code[1:], 16))

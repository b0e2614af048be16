"""How long a backup and a restore take, and how large the archive is, beside copying the same files with ``cp``.

Run: ``python -m bench.backup``. Times are of the wall clock: they are what an operator waits. Writes
``bench/results/backup.json`` and the table of ``docs/how-to/back-up-and-restore.md``.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from quadra_matrix.storage.backup import Folder, Keys, Place, back_up, restore
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "backup.json"
PAGE = ROOT / "docs" / "how-to" / "back-up-and-restore.md"
SIZES = ((10_000, 20), (1_000_000, 200))
"""Rows of job events, and files of one megabyte."""
ROUNDS = 3
KEYS = Keys(secret="a secret that signs the manifest")


def place_in(folder: Path) -> Place:
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'quadra.db'}")
    return Place(database, {"models": folder / "models"}, folder / "run" / "backup")


def fill(place: Place, rows: int, files: int) -> None:
    upgrade(place.database)
    with place.database.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO experiment_exposures (ts, experiment, phase, variant, unit) VALUES (:ts, 'e', 1, 'a', :u)"
            ),
            [{"ts": number, "u": f"user-{number}"} for number in range(rows)],
        )
    place.folders["models"].mkdir()
    for number in range(files):
        (place.folders["models"] / f"{number}.onnx").write_bytes(os.urandom(500_000) + b"\0" * 500_000)


def measure(rows: int, files: int) -> dict[str, float]:
    took: dict[str, list[float]] = {"backup": [], "restore": [], "cp": []}
    with tempfile.TemporaryDirectory() as scratch:
        source, target = place_in(Path(scratch, "source")), Folder(Path(scratch, "backups"))
        fill(source, rows, files)
        size = sum(file.stat().st_size for file in Path(scratch, "source").rglob("*") if file.is_file())
        for number in range(ROUNDS):
            began = time.perf_counter()
            entry, _ = back_up(source, target, KEYS)
            took["backup"].append(time.perf_counter() - began)
            empty = place_in(Path(scratch, f"restored-{number}"))
            began = time.perf_counter()
            restore(empty, target, entry.name, KEYS)
            took["restore"].append(time.perf_counter() - began)
            empty.database.close()
            began = time.perf_counter()
            subprocess.run(["cp", "-r", Path(scratch, "source"), Path(scratch, f"copied-{number}")], check=True)
            took["cp"].append(time.perf_counter() - began)
        source.database.close()
        medians = {name: statistics.median(values) for name, values in took.items()}
        return {"rows": rows, "files": files, "bytes": size, "archive_bytes": entry.size, **medians}


def table(found: list[dict[str, float]]) -> str:
    lines = ["| rows | files of 1 MB | data | archive | backup | restore | `cp -r` |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {each['rows']:,} | {each['files']} | {each['bytes'] / 1e6:.0f} MB | {each['archive_bytes'] / 1e6:.0f} MB "
        f"| {each['backup']:.1f} s | {each['restore']:.1f} s | {each['cp']:.1f} s |"
        for each in found
    ]
    return "\n".join(lines)


def main() -> None:
    found = [measure(rows, files) for rows, files in SIZES]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    page = PAGE.read_text()
    marked = re.compile(r"(<!-- backup:begin -->\n).*?(<!-- backup:end -->)", re.DOTALL)
    PAGE.write_text(marked.sub(lambda part: f"{part[1]}\n{table(found)}\n\n{part[2]}", page))
    print(table(found))


if __name__ == "__main__":
    main()

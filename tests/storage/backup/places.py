"""A place with rows and files to back up."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from quadra_matrix.storage.backup import Place
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database

FILES = {
    "models/iris/1/model.onnx": b"\0onnx" * 5000,
    "models/iris/1/card.json": b"{}",
    "datasets/a.csv": b"a,b\n1,2\n",
}


def make_place(folder: Path, url: str | None = None) -> Place:
    """Return an empty place; its database has no tables."""
    database = Database(url or f"sqlite:///{folder / 'quadra.db'}")
    return Place(database, {name: folder / name for name in ("models", "datasets")}, folder / "run" / "backup")


def fill(place: Place, rows: int = 3) -> None:
    """Give the place every table, some rows and some files."""
    upgrade(place.database)
    for number in range(rows):
        add_dataset(place, number)
    for name, content in FILES.items():
        top, _, rest = name.partition("/")
        file = place.folders[top] / rest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def add_dataset(place: Place, number: int) -> None:
    statement = f"INSERT INTO datasets (id, created_at, record) VALUES ('{number:032x}', 1.0, '{{}}')"
    with place.database.begin() as connection:
        connection.execute(sa.text(statement))


def datasets(place: Place) -> int:
    with place.database.read() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM datasets")).scalar_one())


def files(place: Place) -> dict[str, bytes]:
    return {
        f"{name}/{file.relative_to(path).as_posix()}": file.read_bytes()
        for name, path in place.folders.items()
        for file in path.rglob("*")
        if file.is_file()
    }

"""``quadra predict`` and ``quadra models`` against a service that listens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quadra_matrix.cli import main
from tests.service.models.conftest import Shop
from tests.service.models.served import app_over, listening

Quadra = Callable[..., Result]
ROW = json.dumps([[float(i) for i in range(30)]])


@pytest.fixture(scope="module")
def quadra(trained_shop: Shop) -> Iterator[Quadra]:
    with listening(app_over(trained_shop)) as port:
        yield lambda *arguments, **given: CliRunner().invoke(
            main, [*arguments, "--url", f"http://127.0.0.1:{port}"], **given
        )


def test_predict_prints_a_line_for_each_row(quadra: Quadra) -> None:
    ran = quadra("predict", ROW, "--model", "cancer")

    assert ran.exit_code == 0
    assert ran.stdout.splitlines()[0].split() == ["prediction", "benign", "malignant"]
    assert ran.stdout.splitlines()[1].split()[0] in {"benign", "malignant"}
    assert ran.stderr == "cancer version 1\n"


def test_predict_reads_files_and_standard_input(quadra: Quadra, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(ROW)

    of_file = quadra("predict", "--file", str(file), "--version", "2", "--json")
    of_input = quadra("predict", "--file", "-", "--alias", "candidate", "--json", input=ROW)

    assert json.loads(of_file.stdout)["version"] == json.loads(of_input.stdout)["version"] == 2
    assert json.loads(of_file.stdout)["probabilities"] == json.loads(of_input.stdout)["probabilities"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["predict"], 2, "give the rows"),
        (["predict", "[[1"], 2, "not JSON"),
        (["predict", "[[1]]"], 1, "takes 30"),
        (["predict", "[[1]]", "--model", "flowers"], 1, "there is: cancer"),
        (["models", "show", "flowers"], 1, "there is: cancer"),
    ],
)
def test_what_is_wrong_is_told_with_an_exit_code(quadra: Quadra, arguments: list[str], code: int, told: str) -> None:
    ran = quadra(*arguments)

    assert (ran.exit_code, told in ran.stderr, ran.stdout) == (code, True, "")


def test_models_are_listed_and_shown(quadra: Quadra) -> None:
    listed = quadra("models", "list")
    shown = quadra("models", "show", "cancer")
    version = quadra("models", "show", "cancer", "2")

    assert listed.stdout.splitlines()[1].split() == ["cancer", "2", "candidate=2,", "production=1"]
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["version", "2", "1"]
    assert "random_forest" in version.stdout
    assert json.loads(quadra("models", "list", "--json").stdout)["models"][0]["versions"] == [1, 2]
    assert json.loads(quadra("models", "show", "cancer", "--json").stdout)["name"] == "cancer"


def test_an_alias_is_moved(shop: Shop) -> None:
    shop.train()
    shop.train()
    with listening(app_over(shop)) as port:
        address = ["--url", f"http://127.0.0.1:{port}"]
        moved = CliRunner().invoke(main, ["models", "alias", "cancer", "shadow", "2", *address])
        as_json = CliRunner().invoke(main, ["models", "alias", "cancer", "shadow", "1", "--json", *address])

    assert moved.stderr == "shadow of cancer is version 2\n"
    assert json.loads(as_json.stdout)["version"] == 1
    assert shop.another_process().find("cancer", alias="shadow").version == 1

"""Predictions come from the version that was meant, from memory, without scikit-learn."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from typing import Any

import pytest

from quadra_matrix.errors import BadRows, BrokenModel, UnknownModel
from quadra_matrix.events.models import Predicted
from quadra_matrix.service.models.inference import Inference
from quadra_matrix.service.models.request import BuiltIn
from quadra_matrix.testing import RecordingHook
from tests.service.models.conftest import Shop


@pytest.fixture(scope="module")
def rows(trained_shop: Shop) -> list[list[float]]:
    table = trained_shop.datasets.load(BuiltIn(name="breast_cancer"))
    return [list(map(float, row)) for row in zip(*(column.values for column in table.columns[:-1]), strict=True)]


@pytest.fixture
def inference(trained_shop: Shop) -> Inference:
    return Inference(trained_shop.registry)


def test_production_answers_by_default(inference: Inference, rows: list[list[float]]) -> None:
    answer = inference.predict("cancer", rows[:2])

    assert (answer.model, answer.version, answer.classes) == ("cancer", 1, ("benign", "malignant"))
    assert answer.predictions == ["malignant", "malignant"]
    assert answer.probabilities is not None
    assert [sum(line) for line in answer.probabilities] == pytest.approx([1.0, 1.0])


def test_a_version_or_an_alias_may_be_named(inference: Inference, rows: list[list[float]]) -> None:
    assert inference.predict("cancer", rows[:1], version=2).version == 2
    assert inference.predict("cancer", rows[:1], alias="candidate").version == 2


def test_records_may_come_in_any_order_of_names(inference: Inference, rows: list[list[float]]) -> None:
    names = [feature.name for feature in inference.model("cancer").version.features]
    record = dict(sorted(zip(names, rows[5], strict=True)))

    assert inference.predict("cancer", [record]) == inference.predict("cancer", rows[5:6])


@pytest.mark.parametrize("version", [1, 2])
def test_a_batch_equals_its_rows_bit_for_bit(inference: Inference, rows: list[list[float]], version: int) -> None:
    together = inference.predict("cancer", rows, version=version)

    alone = [inference.predict("cancer", [row], version=version) for row in rows]

    assert together.predictions == [answer.predictions[0] for answer in alone]
    assert together.probabilities == [(answer.probabilities or [])[0] for answer in alone]


@pytest.mark.parametrize(("count", "fault"), [(0, "is empty"), (11, "has 11 rows; at most 10")])
def test_the_size_of_a_batch_has_bounds(trained_shop: Shop, count: int, fault: str) -> None:
    with pytest.raises(BadRows, match=fault):
        Inference(trained_shop.registry, max_rows=10).predict("cancer", [[0.0] * 30] * count)


@pytest.mark.parametrize("extreme", [1e308, -1e308])
def test_a_row_beyond_all_arithmetic_is_refused_by_its_place(
    inference: Inference, rows: list[list[float]], extreme: float
) -> None:
    with pytest.raises(BadRows, match=r"rows\[1\] lies so far from the training data") as refused:
        inference.predict("cancer", [rows[0], [extreme] * 30])

    assert list(refused.value.places) == [("rows", 1)]


def test_an_unknown_model_names_those_that_exist(inference: Inference) -> None:
    with pytest.raises(UnknownModel) as refused:
        inference.predict("flowers", [[1]])

    assert refused.value.existing == ("cancer",)


def test_an_answer_is_announced(trained_shop: Shop, rows: list[list[float]]) -> None:
    heard = RecordingHook()

    Inference(trained_shop.registry, hook=heard).predict("cancer", rows[:3])

    (event,) = heard.of(Predicted)
    assert (event.model, event.version, event.rows) == ("cancer", 1, 3)
    assert event.seconds >= 0


def test_the_version_used_longest_ago_makes_room(trained_shop: Shop, rows: list[list[float]]) -> None:
    inference = Inference(trained_shop.registry, most_warm=1)
    first = inference.model("cancer", version=1)

    second = inference.model("cancer", version=2)

    assert inference.model("cancer", version=2) is second
    assert inference.model("cancer", version=1) is not first


def test_a_changed_file_is_refused(shop: Shop) -> None:
    shop.train()
    (shop.folder / "models" / "cancer" / "1" / "model.onnx").write_bytes(b"not onnx")

    with pytest.raises(BrokenModel, match="was changed"):
        Inference(shop.registry).predict("cancer", [[0.0] * 30])


def test_ten_thousand_predictions_during_a_hundred_alias_moves(shop: Shop, rows: list[list[float]]) -> None:
    """Another process moves the alias; every answer is exactly what the version it names says."""
    shop.train()
    shop.train(estimator={"name": "random_forest", "trees": 5})
    inference, mover = Inference(shop.registry), shop.another_process()
    sample = rows[:20]
    right = {version: inference.predict("cancer", sample, version=version).probabilities for version in (1, 2)}
    answered: list[Any] = []
    failed: list[Exception] = []
    more, moved_all = threading.Event(), threading.Event()

    def ask(seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not moved_all.is_set() or len(answered) < 10_000:
                i = chance.randrange(20)
                answered.append((i, inference.predict("cancer", sample[i : i + 1])))
                more.set()
        except Exception as error:  # noqa: BLE001  the edge of a thread; the test tells
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for move in range(100):
        while len(answered) < move * 100 and not failed:  # spread over the answers
            more.clear()
            more.wait(0.1)
        mover.move("cancer", "production", 1 + move % 2)
    moved_all.set()
    for thread in threads:
        thread.join(120)

    wrong = [one for i, one in answered if one.probabilities != [(right[one.version] or [])[i]]]
    assert (failed, wrong) == ([], [])
    assert len(answered) >= 10_000
    assert {one.version for _, one in answered} == {1, 2}
    assert inference.predict("cancer", sample[:1]).version == 2


def test_serving_onnx_imports_no_scikit_learn(trained_shop: Shop) -> None:
    program = f"""
import sys
from pathlib import Path
from quadra_matrix.service.models.inference import Inference
from quadra_matrix.service.models.registry import Registry
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlModels

folder = Path({str(trained_shop.folder)!r})
registry = Registry(SqlModels(Database(f"sqlite:///{{folder / 'quadra.db'}}")), folder / "models")
print(Inference(registry).predict("cancer", [[1.0] * 30]).version)
loaded = {{"sklearn", "scipy", "onnx", "skl2onnx", "skops", "duckdb"}} & set(sys.modules)
assert not loaded, loaded
"""

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)

    assert (ran.stdout, ran.returncode) == ("1\n", 0), ran.stderr

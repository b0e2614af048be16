"""A training publishes a model that predicts as scikit-learn would, and tells what happened on the way."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from quadra_matrix.errors import BadDataset, UntrustedModel
from quadra_matrix.service.models import onnx, skops, steady
from quadra_matrix.service.models.inference import Inference, load_scorer
from quadra_matrix.service.models.request import TrainingRequest
from quadra_matrix.service.models.rows import RowReader
from quadra_matrix.service.models.selection import select
from quadra_matrix.service.models.sklearn.pipeline import SklearnScorer
from quadra_matrix.service.models.values import Inputs, Progress
from quadra_matrix.store.models import Engine
from tests.service.models.conftest import Shop

SMALL: Mapping[str, Mapping[str, Any]] = {
    "linear": {"name": "linear"},
    "random_forest": {"name": "random_forest", "trees": 12},
    "hist_gradient_boosting": {"name": "hist_gradient_boosting", "rounds": 12},
    "mlp": {"name": "mlp", "layers": [7], "activation": "tanh", "max_iterations": 30},
    "k_nearest": {"name": "k_nearest"},
}
EPOCH = 1.7e9
"""Seconds: single precision knows them to two minutes only."""


def mixed_rows(rows: int = 120) -> tuple[list[str], list[list[Any]]]:
    """Rows with a time stamp, a gap in every third number, an empty category and a flag."""
    chance = np.random.default_rng(5)
    found = []
    for i in range(rows):
        moment = EPOCH + i * 7.0
        height = None if i % 3 == 0 else round(float(chance.normal()), 3)
        city = ["Oslo", "Rome", "Zürich", None][i % 4]
        member = [True, False, None][i % 3]
        found.append([moment, height, city, member, "late" if i > rows / 2 else "early"])
    return ["moment", "height", "city", "member", "target"], found


def mixed(**fields: Any) -> dict[str, Any]:
    columns, rows = mixed_rows()
    return {"model": "mixed", "data": {"source": "inline", "columns": columns, "rows": rows}, **fields}


def original_of(shop: Shop, model: str, version: int) -> SklearnScorer:
    found = shop.registry.find(model, version=version)
    return SklearnScorer(skops.read(shop.registry.read(found, "model.skops")))


def inputs_of(shop: Shop, request: dict[str, Any]) -> Inputs:
    wanted = TrainingRequest.model_validate(request)
    return select(shop.datasets.load(wanted.data), wanted).inputs


EXACT = [(estimator, data) for estimator in SMALL for data in ("breast_cancer", "diabetes", "mixed")]
EXACT.remove(("k_nearest", "mixed"))  # neighbours at equal distance: the export takes others, so the original serves


@pytest.mark.parametrize(("estimator", "data"), EXACT)
def test_onnx_agrees_with_scikit_learn_on_every_row(shop: Shop, estimator: str, data: str) -> None:
    request = {"model": "m", "data": {"source": "builtin", "name": data}, "estimator": SMALL[estimator]}
    if data == "mixed":
        request = mixed(estimator=SMALL[estimator])

    published = shop.train(**request)

    found = shop.registry.find(request["model"])
    inputs = inputs_of(shop, request)
    serving = steady.scores(load_scorer(shop.registry, found), inputs, found.padding)
    original = original_of(shop, request["model"], 1).scores(inputs)
    assert (published.engine, found.onnx.reason, found.onnx.label_flips) == (Engine.ONNX, "", 0)
    assert found.onnx.max_difference is not None
    assert found.onnx.max_difference < 1e-6
    spread = 77.0 if data == "diabetes" else 1.0
    assert np.abs(serving - original).max() / spread < 1e-6
    assert (serving.argmax(axis=1) == original.argmax(axis=1)).all()


@pytest.mark.parametrize("estimator", SMALL)
def test_a_batch_equals_its_rows_bit_for_bit(shop: Shop, estimator: str) -> None:
    shop.train(**mixed(estimator=SMALL[estimator]))
    found = shop.registry.find("mixed")
    scorer, inputs = load_scorer(shop.registry, found), inputs_of(shop, mixed())

    alone = np.concatenate([steady.scores(scorer, inputs.take(slice(i, i + 1)), found.padding) for i in range(120)])

    assert found.padding is not None
    for size in (2, 31, 120):
        parts = [steady.scores(scorer, inputs.take(slice(i, i + size)), found.padding) for i in range(0, 120, size)]
        assert np.array_equal(np.concatenate(parts), alone)


def test_a_probability_just_below_one_stays_below_one(shop: Shop) -> None:
    rows = [[x / 10, "no" if x < 50 else "yes"] for x in range(100)]
    data = {"source": "inline", "columns": ["x", "target"], "rows": rows}
    shop.train(data=data, estimator={"name": "linear", "regularization": 0.01})
    found = shop.registry.find("cancer")

    score = load_scorer(shop.registry, found).scores(RowReader(found.features).read([[8.5], [8.5]]))[0, 1]

    assert np.float32(score) == 1.0
    assert 0.999999 < score < 1.0


def test_an_export_that_differs_too_much_lets_the_original_serve(shop: Shop) -> None:
    published = shop.train(estimator=SMALL["random_forest"], tolerance=0.0)

    found = shop.registry.find("cancer")
    inputs = inputs_of(shop, {"model": "m", "data": {"source": "builtin", "name": "breast_cancer"}})
    serving = load_scorer(shop.registry, found)
    assert (published.engine, found.engine) == (Engine.SKLEARN, Engine.SKLEARN)
    assert "at most 0 is served" in found.onnx.reason
    assert np.array_equal(serving.scores(inputs), original_of(shop, "cancer", 1).scores(inputs))


def test_a_model_that_cannot_be_exported_is_served_by_the_original(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "CONVERTERS", {"SimpleImputer": None})  # skl2onnx has nothing to call

    published = shop.train(estimator={"name": "mlp", "layers": [3], "max_iterations": 5})

    found = shop.registry.find("cancer")
    assert published.engine is Engine.SKLEARN
    assert found.onnx.reason.startswith("no export: ")
    assert (found.onnx.max_difference, set(found.files)) == (None, {"model.skops"})
    assert len(Inference(shop.registry).predict("cancer", [[1.0] * 30]).predictions) == 1


def test_nearest_neighbours_by_distance_are_served_by_the_original(shop: Shop) -> None:
    """The exporter errs on rows at distance zero: rows of the training part."""
    published = shop.train(estimator={"name": "k_nearest", "weights": "distance"})

    found = shop.registry.find("cancer")
    assert published.engine is Engine.SKLEARN
    assert found.onnx.label_flips > 0
    assert "labels differ" in found.onnx.reason


def test_progress_names_the_phases_and_the_metric_so_far(shop: Shop) -> None:
    told: list[Progress] = []

    published = shop.train(told.append, folds=3)

    phases = list(dict.fromkeys(one.phase for one in told))
    fractions = [one.fraction for one in told]
    assert phases == ["loading", "cross-validating", "fitting", "evaluating", "exporting", "publishing", "done"]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert "cv_accuracy" in told[2].metrics
    assert told[-1].metrics == published.metrics
    assert {"accuracy", "f1_macro", "log_loss", "roc_auc", "cv_accuracy", "cv_accuracy_std"} == set(published.metrics)
    assert published.metrics["accuracy"] > 0.9


def test_a_watcher_that_raises_ends_the_training_and_nothing_is_published(shop: Shop) -> None:
    def cancel(progress: Progress) -> None:
        if progress.phase == "publishing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.train(cancel)

    assert shop.registry.catalogue().versions == {}


def test_a_regression_has_its_own_metrics(shop: Shop) -> None:
    published = shop.train(model="sugar", data={"source": "builtin", "name": "diabetes"}, folds=2)

    assert {"mean_absolute_error", "root_mean_squared_error", "r2", "cv_r2", "cv_r2_std"} == set(published.metrics)
    assert shop.registry.find("sugar").classes == ()


def test_the_record_tells_where_the_model_came_from(shop: Shop) -> None:
    shop.train(estimator=SMALL["mlp"], seed=3, test_fraction=0.25)

    found = shop.registry.find("cancer")
    assert found.parameters["layers"] == [7]
    assert found.classes == ("benign", "malignant")
    assert len(found.features) == 30
    assert (found.training["rows"], found.training["held_out_rows"], found.training["seed"]) == (427, 142, 3)
    assert found.training["data"] == {"source": "builtin", "name": "breast_cancer"}
    assert any("hasn't converged" in remark for remark in found.training["warnings"])
    assert {"scikit-learn", "skl2onnx", "onnxruntime", "numpy", "python", "quadra-matrix"} <= set(found.libraries)
    assert len(found.data_fingerprint) == 64


def test_the_same_request_gives_the_same_model(shop: Shop) -> None:
    shop.train(estimator=SMALL["random_forest"], seed=7)
    shop.train(estimator=SMALL["random_forest"], seed=7)

    first, second = (shop.registry.find("cancer", version=version) for version in (1, 2))
    assert first.metrics == second.metrics
    assert first.data_fingerprint == second.data_fingerprint


def test_no_file_of_a_version_holds_a_pickle(shop: Shop) -> None:
    shop.train(estimator=SMALL["hist_gradient_boosting"])

    files = {file.name: file for file in (shop.folder / "models" / "cancer" / "1").iterdir()}
    assert set(files) == {"model.onnx", "model.skops"}
    with zipfile.ZipFile(files["model.skops"]) as opened:
        assert {name.rpartition(".")[2] for name in opened.namelist()} <= {"json", "npy"}


def test_a_file_that_names_a_stranger_is_not_read() -> None:
    from fractions import Fraction

    with pytest.raises(UntrustedModel, match="fractions"):
        skops.read(skops.dump(Fraction(1, 3)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"estimator": {"name": "k_nearest", "neighbors": 500}}, "500 neighbors"),
        ({"target": "diagnosis"}, "'diagnosis' is not a column"),
        (
            {"data": {"source": "inline", "columns": ["x", "target"], "rows": [[i, i % 5] for i in range(20)]}},
            "cannot hold each of the 5 classes",
        ),
        (
            {
                "data": {"source": "inline", "columns": ["x", "target"], "rows": [[i, int(i > 2)] for i in range(30)]},
                "folds": 5,
            },
            "class 0 has 2 training rows, too few for 5 folds",
        ),
        (
            {
                "data": {"source": "inline", "columns": ["x", "target"], "rows": [[i, i / 7] for i in range(12)]},
                "folds": 20,
            },
            "10 training rows cannot make 20 folds",
        ),
    ],
)
def test_data_that_cannot_be_split_as_asked_is_refused(shop: Shop, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadDataset, match=message):
        shop.train(**fields)


def test_a_column_that_is_empty_in_the_training_part_does_not_stop_it(shop: Shop) -> None:
    rows = [[i, None if i != 3 else 1.5, i % 2] for i in range(40)]
    data = {"source": "inline", "columns": ["x", "rare", "target"], "rows": rows}

    for seed in range(6):
        assert shop.train(data=data, seed=seed).engine is Engine.ONNX

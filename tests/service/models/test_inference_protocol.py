"""The Open Inference Protocol v2: Triton's own client, and the errors that it can read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from flask.testing import FlaskClient
from tritonclient.utils import InferenceServerException

from quadra_matrix.service.models.inference import Inference
from tests.service.models.conftest import Shop
from tests.service.models.served import app_over, listening
from tests.service.models.test_training import mixed

ROWS = np.random.default_rng(1).uniform(0, 20, size=(5, 30))


@pytest.fixture(scope="module")
def server(trained_shop: Shop) -> Iterator[triton.InferenceServerClient]:
    with listening(app_over(trained_shop)) as port, triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield client


@pytest.fixture
def client(trained_shop: Shop) -> FlaskClient:
    return app_over(trained_shop).test_client()


def tensor(name: str, values: Any, datatype: str, *, binary: bool) -> triton.InferInput:
    sent = triton.InferInput(name, list(values.shape), datatype)
    sent.set_data_from_numpy(values, binary_data=binary)
    return sent


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize(("datatype", "dtype"), [("FP64", np.float64), ("FP32", np.float32), ("INT64", np.int64)])
def test_triton_client_predicts(
    server: triton.InferenceServerClient, trained_shop: Shop, datatype: str, dtype: Any, binary: bool
) -> None:
    values = ROWS.astype(dtype)

    answer = server.infer("cancer", [tensor("numeric", values, datatype, binary=binary)], request_id="seven")

    expected = Inference(trained_shop.registry).predict("cancer", values.astype(float).tolist())
    response = answer.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == ("cancer", "1", "seven")
    assert [label.decode() if isinstance(label, bytes) else label for label in answer.as_numpy("predictions")] == (
        expected.predictions
    )
    assert answer.as_numpy("probabilities").tolist() == expected.probabilities


def test_triton_client_sees_health_and_metadata(server: triton.InferenceServerClient) -> None:
    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.is_model_ready("cancer")
    assert server.is_model_ready("cancer", "2")
    assert not server.is_model_ready("flowers")
    assert server.get_server_metadata()["name"] == "quadra-matrix"
    found = server.get_model_metadata("cancer", "2")
    assert (found["name"], found["versions"], found["platform"]) == ("cancer", ["1", "2"], "quadra-matrix_onnx")
    assert found["inputs"][0]["shape"] == [-1, 30]
    assert found["outputs"] == [
        {"name": "predictions", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]},
    ]


def test_a_version_and_an_output_may_be_named(server: triton.InferenceServerClient) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=False)]

    answer = server.infer("cancer", [tensor("numeric", ROWS, "FP64", binary=True)], "2", outputs=outputs)

    assert answer.get_response()["model_version"] == "2"
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["probabilities"]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_categories_travel_as_bytes(shop: Shop, binary: bool) -> None:
    shop.train(**mixed())
    numeric = np.array([[1.7e9, 0.5, 1.0], [1.7e9 + 700, np.nan if binary else 0.1, 0.0]])
    categorical = np.array([["Zürich"], [""]], dtype=object)

    with listening(app_over(shop)) as port, triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        sent = [
            tensor("numeric", numeric, "FP64", binary=binary),
            tensor("categorical", categorical, "BYTES", binary=binary),
        ]
        answer = client.infer("mixed", sent)

    rows = [[1.7e9, 0.5, "Zürich", True], [1.7e9 + 700, None if binary else 0.1, None, False]]
    expected = Inference(shop.registry).predict("mixed", rows)
    assert answer.as_numpy("probabilities").tolist() == expected.probabilities


def test_triton_client_is_told_what_is_wrong(server: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="there is no model 'flowers'; there is: cancer"):
        server.infer("flowers", [tensor("numeric", ROWS, "FP64", binary=False)])
    with pytest.raises(InferenceServerException, match=r"is \[5, 2\]; the model takes \[-1, 30\]"):
        server.infer("cancer", [tensor("numeric", ROWS[:, :2], "FP64", binary=True)])


def given(**fields: Any) -> dict[str, Any]:
    return {"name": "numeric", "datatype": "FP64", "shape": [1, 30], "data": [0.0] * 30, **fields}


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ("{", 400, "Invalid JSON"),
        ({}, 422, "#/inputs"),
        ({"inputs": []}, 422, "#/inputs"),
        ({"inputs": [given(datatype="FP16")]}, 422, "is FP16"),
        ({"inputs": [given(datatype="BYTES", data=["x"] * 30)]}, 422, "datatype is BYTES"),
        ({"inputs": [given(data=["1"] * 30)]}, 422, "does not hold FP64"),
        ({"inputs": [given(data=[0.5] * 29)]}, 422, "has 29 elements"),
        ({"inputs": [given(datatype="INT64", data=[0.5] * 30)]}, 422, "does not hold INT64"),
        ({"inputs": [given(data=None)]}, 422, "data is missing"),
        ({"inputs": [given(shape=[30])]}, 422, "the model takes"),
        ({"inputs": [given(name="x")]}, 422, "is not an input"),
        ({"inputs": [given(shape=[0, 30], data=[])]}, 422, "is empty"),
        ({"inputs": [given()], "outputs": [{"name": "x"}]}, 422, "is not an output"),
        ({"inputs": [given(data=None, parameters={"binary_data_size": 9})]}, 422, "data is missing"),
    ],
)
def test_errors_speak_to_both_kinds_of_client(client: FlaskClient, body: Any, status: int, told: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)

    answer = client.post("/v2/models/cancer/infer", data=text)

    problem = json.loads(answer.data)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert told in problem["error"]
    assert problem["status"] == status


def test_nested_data_is_flattened(client: FlaskClient) -> None:
    flat = client.post("/v2/models/cancer/infer", json={"inputs": [given()]}).get_json()
    nested = client.post("/v2/models/cancer/infer", json={"inputs": [given(data=[[0.0] * 30])]}).get_json()

    assert nested["outputs"] == flat["outputs"]


@pytest.mark.parametrize("path", ["/v2/models/cancer/versions/x", "/v2/models/cancer/versions/9/ready"])
def test_an_unknown_version_is_not_found(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("length", ["x", "-1", "99999", "²"])
def test_a_wrong_length_of_the_json_part_is_refused(client: FlaskClient, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}

    assert client.post("/v2/models/cancer/infer", data=b"{}", headers=headers).status_code == 422


def test_a_binary_text_longer_than_its_tensor_is_refused(client: FlaskClient) -> None:
    raw = struct.pack("<I", 100) + b"abc"
    header = json.dumps({"inputs": [given(datatype="BYTES", data=None, parameters={"binary_data_size": len(raw)})]})

    answer = client.post(
        "/v2/models/cancer/infer",
        data=header.encode() + raw,
        headers={"Inference-Header-Content-Length": str(len(header))},
    )

    assert (answer.status_code, "does not hold BYTES" in answer.get_json()["error"]) == (422, True)

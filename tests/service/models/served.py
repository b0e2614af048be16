"""The routes of the models part as an app, over a shop."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from flask import Flask
from werkzeug.serving import make_server

from quadra_matrix.api.flask import setup_problem_errors
from quadra_matrix.experiments import ABTestingFramework
from quadra_matrix.service.models.experiments import ModelExperiments
from quadra_matrix.service.models.inference import Inference
from quadra_matrix.service.routes.datasets import dataset_routes
from quadra_matrix.service.routes.inference_protocol import inference_protocol_routes
from quadra_matrix.service.routes.models import model_routes
from quadra_matrix.service.routes.predict import predict_routes
from tests.service.models.conftest import Shop

MOST_ROWS, MOST_BYTES = 600, 10_000


def app_over(shop: Shop) -> Flask:
    app = Flask("models", static_folder=None)
    setup_problem_errors(app)
    registry = shop.another_process()
    inference = Inference(registry, max_rows=MOST_ROWS)
    app.register_blueprint(dataset_routes(shop.datasets, max_upload_bytes=MOST_BYTES))
    app.register_blueprint(model_routes(registry))
    trials = ModelExperiments(ABTestingFramework(shop.folder / "experiments"), registry)
    app.register_blueprint(predict_routes(inference, trials, default_model="cancer", max_rows=MOST_ROWS))
    app.register_blueprint(inference_protocol_routes(inference, registry, ready=lambda: True))
    return app


@contextlib.contextmanager
def listening(app: Flask) -> Iterator[int]:
    """Serve an app on a free loopback port for real clients; yield the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()

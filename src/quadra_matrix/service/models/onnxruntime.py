"""Score rows by an ONNX model."""

from __future__ import annotations

import numpy as np
import onnxruntime

from quadra_matrix.service.models.values import Floats, Inputs

PROBABILITIES = "probabilities"


class OnnxScorer:
    """A ``Scorer`` over an ONNX model: one thread, for the service runs one process a core."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = {given.name for given in session.get_inputs()}
        outputs = [found.name for found in session.get_outputs()]
        self._run = session.run
        self._output = [PROBABILITIES] if PROBABILITIES in outputs else outputs[:1]
        self._numeric, self._categorical = "numeric" in names, "categorical" in names

    def scores(self, inputs: Inputs) -> Floats:
        """Return probabilities, or the numbers of a regression as one column."""
        feed = {}
        if self._numeric:
            feed["numeric"] = inputs.numeric
        if self._categorical:
            feed["categorical"] = inputs.categorical
        scores: Floats = self._run(self._output, feed)[0]
        return np.asarray(scores, dtype=np.float64)

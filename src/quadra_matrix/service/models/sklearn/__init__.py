"""Everything that is computed by scikit-learn. Importing it takes a second; a worker that serves ONNX never does."""

"""Feature 1: what an API promises in its documents, and the checks that hold it to that."""

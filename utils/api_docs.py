"""The promised name of feature 1: ``from utils.api_docs import setup_api_documentation``."""

from quadra_matrix.api.flask import documented, setup_api_documentation, setup_problem_errors, validated

__all__ = ["documented", "setup_api_documentation", "setup_problem_errors", "validated"]

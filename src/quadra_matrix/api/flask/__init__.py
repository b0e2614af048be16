"""The API feature on Flask: problem documents, validated views, documentation of an app."""

from quadra_matrix.api.documented import documented
from quadra_matrix.api.flask.documentation import ApiDocumentation, setup_api_documentation
from quadra_matrix.api.flask.problems import options_of, problem_response, setup_problem_errors, trace_id
from quadra_matrix.api.flask.validated import validated

__all__ = [
    "ApiDocumentation",
    "documented",
    "options_of",
    "problem_response",
    "setup_api_documentation",
    "setup_problem_errors",
    "trace_id",
    "validated",
]

"""The API against its own OpenAPI description: whatever comes, no answer is a fault of the server."""

import hypothesis
import pytest
import schemathesis

from fusiqa.config import ServeConfig
from fusiqa.scoring.web.app import make_app

EXAMPLES = 30
HERE = {"Host": "127.0.0.1"}


@pytest.fixture(scope="module")
def api(scorer):
    app = make_app(scorer, ServeConfig(max_megabytes=0.2, max_files=3))
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers=HERE)


def test_every_refusal_is_described(scorer):
    described = make_app(scorer, ServeConfig()).openapi()["paths"]["/v1/score"]["post"]
    assert set(described["responses"]) >= {"200", "400", "403", "408", "413", "503", "504"}
    assert "a part of it is no file" in described["responses"]["400"]["description"]
    form = described["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert (form["required"], form["properties"]["files"]["minItems"]) == (["files"], 1)


@pytest.mark.filterwarnings("ignore")  # of the generators' own
def test_no_request_is_answered_by_a_fault_of_the_server(api):
    operations = [found.ok() for found in api.get_all_operations()]
    assert {operation.path for operation in operations} == {"/v1/score", "/v1/model", "/health", "/metrics"}
    statuses = set()
    for operation in operations:

        @hypothesis.settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(case=operation.as_strategy())
        def every(case):
            answer = case.call(headers=HERE)
            statuses.add(answer.status_code)
            assert answer.status_code < 500, f"{case.method} {case.path}: {answer.status_code} {answer.text}"

        every()
    assert 200 in statuses

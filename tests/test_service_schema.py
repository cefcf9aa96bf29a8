"""Every address of the service keeps to the OpenAPI document, whatever it is asked."""

import re

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from service import LAPTOP, PATIENCE_S, client_of, ended, worker
from tiny_run import make_scene

from api.app import create_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MAY_ANSWER_503 = {("/readyz", not_a_server_error)}
"""This is what it is for."""
FOR_ALL = ("/v1/session",)
"""Where keys are shown: says who is there, be it nobody."""
METHODS = {"get", "put", "post", "delete", "head", "patch"}
PLENTY = {"requests_per_minute": 10**9, "max_jobs": 10**6}

FEW = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def job_id(folder, tmp_path_factory):
    scene = make_scene(tmp_path_factory.mktemp("scene") / "scene.tif")
    with client_of(LAPTOP.settings(folder)) as client, worker(LAPTOP, folder):
        files = {"image": ("scene.tif", scene.read_bytes())}
        answer = client.post("/v1/assessments", files=files, data={"model": "harvey"})
        job = ended(client, answer.json()["jobID"])
    assert job["status"] == "successful", job
    return job["jobID"]


@pytest.fixture(scope="module")
def document(folder, job_id):
    app = create_app(LAPTOP.settings(folder, **PLENTY))
    loaded = schemathesis.openapi.from_asgi("/openapi.json", app)
    # Made-up keys would be refused before anything else happens.
    loaded.config.generation.update(with_security_parameters=False)

    @loaded.hook
    def map_path_parameters(context, path_parameters):
        """Ask about the job that is there, but for what would delete it."""
        if path_parameters and "job_id" in path_parameters and context.operation.method != "delete":
            path_parameters["job_id"] = job_id
        return path_parameters

    yield loaded
    schemathesis.python.asgi.shutdown_lifespans()


def test_every_answer_is_as_the_document_says(document, subtests):
    asked = set()
    for found in document.get_all_operations():
        operation = found.ok()
        with subtests.test(operation.label):
            _keeps_to_the_document(operation)
        asked.add(operation.label)
    told = document.raw_schema["paths"]
    assert len(asked) == sum(method in METHODS for path in told.values() for method in path)


def _keeps_to_the_document(operation):
    checks = [check for check in CHECKS if (operation.path, check) not in MAY_ANSWER_503]

    @given(case=operation.as_strategy())
    @FEW
    def ask(case):
        case.call_and_validate(checks=checks, timeout=PATIENCE_S)

    ask()


def test_without_a_key_whatever_asks_for_one_answers_401_and_the_document_says_so(tmp_path):
    with client_of(LAPTOP.settings(tmp_path, require_keys=True)) as client:
        guarded = [
            (method, path, answers["responses"])
            for path, methods in client.app.openapi()["paths"].items()
            for method, answers in methods.items()
            if "security" in answers and path not in FOR_ALL
        ]
        for method, path, documented in guarded:
            answer = client.request(method, re.sub(r"{\w+}", "0" * 32, path))
            assert (answer.status_code, {"401", "403", "429"} - set(documented)) == (401, set()), (
                f"{method.upper()} {path}"
            )
            assert answer.headers["content-type"] == "application/problem+json"
    assert {"/v1/predict", "/v1/assessments"} <= {path for _, path, _ in guarded}

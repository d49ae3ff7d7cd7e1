"""Holds the generated messages to their source, and the source to Envoy's numbers."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.fronts import ext_authz_pb2 as messages

ROOT = Path(__file__).parent.parent.parent
SOURCE = "gateway/fronts/ext_authz.proto"

NUMBERS = {
    "CheckRequest": {"attributes": 1},
    "CheckResponse": {"status": 1, "denied_response": 2, "ok_response": 3},
    "AttributeContext": {"source": 1, "request": 4, "context_extensions": 10},
    "DeniedHttpResponse": {"status": 1, "headers": 2, "body": 3},
    "OkHttpResponse": {
        "headers": 2,
        "headers_to_remove": 5,
        "response_headers_to_add": 6,
    },
    "HeaderValue": {"key": 1, "value": 2, "raw_value": 3},
    "HeaderValueOption": {
        "header": 1,
        "append": 2,
        "append_action": 3,
        "keep_empty_value": 4,
    },
}
"""As in envoyproxy/envoy, api/envoy/service/auth/v3 and api/envoy/config/core/v3."""


def test_the_generated_code_is_that_of_its_source(tmp_path):
    """After a change of the source: make proto."""
    words = ["-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", SOURCE]
    subprocess.run(  # noqa: S603 -- our own command
        [sys.executable, "-m", "grpc_tools.protoc", *words], cwd=ROOT, check=True
    )

    for suffix in ("_pb2.py", "_pb2.pyi"):
        name = SOURCE.removesuffix(".proto") + suffix
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


@pytest.mark.parametrize("message", NUMBERS)
def test_the_numbers_are_envoys(message):
    """Names are for readers; on the wire there are numbers alone."""
    fields = getattr(messages, message).DESCRIPTOR.fields

    assert NUMBERS[message] == {field.name: field.number for field in fields}


def test_the_service_has_envoys_name():
    """It is the path of every call."""
    service = messages.DESCRIPTOR.services_by_name["Authorization"]

    assert "envoy.service.auth.v3.Authorization" == service.full_name
    assert ["Check"] == [method.name for method in service.methods]

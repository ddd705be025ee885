"""Who may call: both kinds of bearer, and what is refused, at the API, at Cloud Storage and over gRPC."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import google.auth.jwt
import grpc
import pytest
import requests
from google.auth.crypt import RSASigner
from google.cloud import aiplatform_v1
from google.oauth2 import service_account
from vertex_wire import HOST, LOCATION

from cloudml.emulation.running import Running

ADDRESSES = (
    f"{HOST}/v1/projects/p-1/locations/{LOCATION}/endpoints",
    "https://storage.googleapis.com/storage/v1/b?project=p-1",
)
METHOD = "/google.cloud.aiplatform.v1.EndpointService/ListEndpoints"


def signed(lifetime: float, email: str | None = None) -> str:
    """A JWT that the emulated service account signed itself."""
    account = json.loads(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
    now, issuer = time.time(), email or account["client_email"]
    claims = {"iss": issuer, "sub": issuer, "aud": HOST, "iat": int(now) - 4000, "exp": int(now + lifetime)}
    return google.auth.jwt.encode(RSASigner.from_service_account_info(account), claims).decode()


def bearers() -> dict[str, tuple[str, bool]]:
    """What is sent, and whether it is good."""
    good = signed(3600)
    return {
        "none": ("", False),
        "wrong": ("Bearer ya29.nobody", False),
        "basic": ("Basic dTpw", False),
        "signed": (f"Bearer {good}", True),
        "expired": (f"Bearer {signed(-60)}", False),
        "somebody else": (f"Bearer {signed(3600, 'other@p.iam.gserviceaccount.com')}", False),
        "forged": (f"Bearer {good[:-8]}AAAAAAAA", False),
    }


@pytest.mark.parametrize("address", ADDRESSES)
def test_over_http(running: Running, address: str) -> None:
    for name, (bearer, good) in bearers().items():
        answer = requests.get(address, headers={"Authorization": bearer} if bearer else {}, timeout=30)
        assert answer.status_code == (200 if good else 401), name
        if not good:
            assert answer.json()["error"]["status"] == "UNAUTHENTICATED", name


def test_over_grpc(running: Running) -> None:
    roots = Path(os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]).read_bytes()
    request = aiplatform_v1.ListEndpointsRequest.pb()(parent=f"projects/p-1/locations/{LOCATION}")
    credentials = grpc.ssl_channel_credentials(roots)
    with grpc.secure_channel(HOST.removeprefix("https://"), credentials) as channel:
        ask = channel.unary_unary(METHOD, request_serializer=lambda each: each.SerializeToString())
        for name, (bearer, good) in bearers().items():
            answer = ask.future(request, metadata=[("authorization", bearer)] if bearer else [], timeout=30)
            expected = grpc.StatusCode.OK if good else grpc.StatusCode.UNAUTHENTICATED
            assert answer.code() is expected, name


def test_a_service_account_s_file_is_exchanged_for_a_token(running: Running) -> None:
    file = os.environ["GOOGLE_APPLICATION_CREDENTIALS"]
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    credentials = service_account.Credentials.from_service_account_file(file, scopes=scopes)
    credentials.refresh(google.auth.transport.requests.Request())
    headers = {"Authorization": f"Bearer {credentials.token}"}
    assert requests.get(ADDRESSES[0], headers=headers, timeout=30).status_code == 200
    wrong = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed(-60)}
    answer = requests.post("https://oauth2.googleapis.com/token", data=wrong, timeout=30)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")

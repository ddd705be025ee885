"""Artifact Registry: images pushed by cloudml and by skopeo, Google's logins, and its own API of repositories."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials
from vertex_wire import LOCATION, SCOPES, session

from cloudml.emulation.running import Running

HOST = f"{LOCATION}-docker.pkg.dev"
API = "https://artifactregistry.googleapis.com/v1"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture
def place(running: Running) -> str:
    """A new repository, as ``projects/P/locations/L/repositories/R``."""
    parent = f"projects/images-{uuid.uuid4().hex[:8]}/locations/{LOCATION}"
    made = session().post(f"{API}/{parent}/repositories?repositoryId=ml", json={"format": "DOCKER"})
    assert made.status_code == 200, made.text
    return f"{parent}/repositories/ml"


def image(place: str, tag: str) -> str:
    return f"{HOST}/{place.split('/')[1]}/ml/team/fraud:{tag}"


def token(running: Running, file: str = "service-account") -> str:
    path = Path(running.environment["GOOGLE_APPLICATION_CREDENTIALS"]).with_name(f"{file}.json")
    credentials = Credentials.from_service_account_file(str(path), scopes=SCOPES)  # type: ignore[no-untyped-call]
    credentials.refresh(Request())
    return str(credentials.token)


def saved(path: Path) -> Path:
    """What ``docker save`` writes, of an image of one layer."""
    layer = os.urandom(2 << 20)
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": ["made:1"], "Layers": ["00/layer.tar"]}]).encode()
    with tarfile.open(path, "w") as archive:
        for file, data in ((name, config), ("00/layer.tar", layer), ("manifest.json", manifest)):
            about = tarfile.TarInfo(file)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return path


def push(running: Running, folder: Path, place: str, password: str, user: str = "oauth2accesstoken") -> Any:
    """``cloudml image push``, which knows nothing of Google."""
    file = folder / "image.tar"
    command = [sys.executable, "-m", "cloudml", "image", "push", str(file if file.is_file() else saved(file)), place]
    keep = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CACHE_HOME": str(folder / uuid.uuid4().hex)}
    options = ("--username", user, "--password-stdin")
    env = {**keep, **running.environment}
    return subprocess.run([*command, *options], input=password, capture_output=True, text=True, timeout=120, env=env)


def test_cloudml_pushes_and_the_api_shows_it(running: Running, place: str, tmp_path: Path) -> None:
    there, word = image(place, "1"), token(running)
    done = push(running, tmp_path, there, word)
    assert done.returncode == 0, done.stderr
    assert word not in done.stdout + done.stderr
    name, digest = done.stdout.strip().split("@")
    assert f"{name}:1" == there
    again = push(running, tmp_path, image(place, "2"), word)
    assert again.stdout == done.stdout, "the same image under another tag"
    (found,) = session().get(f"{API}/{place}/dockerImages").json()["dockerImages"]
    assert (found["uri"], found["tags"], found["mediaType"]) == (f"{name}@{digest}", ["1", "2"], MANIFEST)
    assert found["name"] == f"{place}/dockerImages/team%2Ffraud@{digest}"
    assert int(found["imageSizeBytes"]) > 1 << 20
    assert session().get(f"{API}/{place}").json()["sizeBytes"] == found["imageSizeBytes"]
    pulled = requests.get(f"https://{HOST}/v2/{name.partition('/')[2]}/tags/list", headers=bearer(word), timeout=60)
    assert pulled.json()["tags"] == ["1", "2"]


def bearer(word: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {word}"}


def test_who_may_push(running: Running, place: str, tmp_path: Path) -> None:
    """By Google's own logins for Docker; who has no role is told which permission is missing."""
    key = Path(running.environment["GOOGLE_APPLICATION_CREDENTIALS"]).read_text()
    assert push(running, tmp_path, image(place, "1"), json.dumps(json.loads(key)), "_json_key").returncode == 0
    other = json.loads(key) | {"private_key": "of nobody"}
    for user, password in (("oauth2accesstoken", "wrong"), ("me", token(running)), ("_json_key", json.dumps(other))):
        refused = push(running, tmp_path, image(place, "2"), password, user)
        assert refused.returncode == 4, refused.stderr
        assert "401" in refused.stderr
    powerless = push(running, tmp_path, image(place, "2"), token(running, "without-roles"))
    assert powerless.returncode == 4
    assert 'Permission "artifactregistry.repositories' in powerless.stderr
    assert "(or it may not exist)" in powerless.stderr


def test_a_repository_that_nobody_made(running: Running, place: str, tmp_path: Path) -> None:
    for there, said in (
        (image(place, "1").replace("/ml/", "/other/"), 'Repository "other" not found'),
        (f"{HOST}/{place.split('/')[1]}/ml:1", "Missing image name"),
        (image(place, "1").replace(HOST, "europe-west4-docker.pkg.dev"), 'Repository "ml" not found'),
    ):
        refused = push(running, tmp_path, there, token(running))
        assert refused.returncode != 0
        assert said in refused.stderr


def test_where_to_get_a_token_is_said(running: Running, place: str) -> None:
    """In the two forms that the service has."""
    name = f"{place.split('/')[1]}/ml/fraud"
    plain = requests.get(f"https://{HOST}/v2/", timeout=60)
    assert plain.status_code == 401
    assert plain.headers["WWW-Authenticate"] == f'Bearer realm="https://{HOST}/v2/token"'
    asked = requests.get(f"https://{HOST}/v2/{name}/manifests/1", timeout=60).headers["WWW-Authenticate"]
    realm, service, scope = (re.search(rf'{word}="([^"]+)"', asked) for word in ("realm", "service", "scope"))
    assert realm
    assert service
    assert scope
    query = {"service": service[1], "scope": scope[1]}
    login = ("oauth2accesstoken", token(running))
    given = requests.get(realm[1], params=query, auth=login, timeout=60).json()["token"]
    for word in (given, token(running)):
        assert requests.get(f"https://{HOST}/v2/", headers=bearer(word), timeout=60).status_code == 200
        answer = requests.get(f"https://{HOST}/v2/{name}/manifests/1", headers=bearer(word), timeout=60)
        assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_repositories(place: str) -> None:
    """Whose fields are those of Google's discovery document."""
    client, (parent, _, _) = session(), place.rpartition("/repositories/")
    found = client.get(f"{API}/{place}").json()
    assert (found["name"], found["format"]) == (place, "DOCKER")
    assert found["registryUri"] == f"{HOST}/{place.split('/')[1]}/ml"
    spec = find_spec("googleapiclient")
    assert spec
    assert spec.origin
    document = Path(spec.origin).parent / "discovery_cache" / "documents" / "artifactregistry.v1.json"
    schemas = json.loads(document.read_text())["schemas"]
    assert found.keys() <= schemas["Repository"]["properties"].keys()
    assert [each["name"] for each in client.get(f"{API}/{parent}/repositories").json()["repositories"]] == [place]
    for id, body, status in (("ml", {"format": "DOCKER"}, 409), ("A_B", {"format": "DOCKER"}, 400), ("m", {}, 400)):
        assert client.post(f"{API}/{parent}/repositories?repositoryId={id}", json=body).status_code == status
    operation = client.delete(f"{API}/{place}").json()
    assert operation["done"]
    assert client.get(f"{API}/{operation['name']}").json() == operation
    assert client.get(f"{API}/{place}").status_code == 404


if shutil.which("skopeo"):

    def test_skopeo_copies_there_and_back(running: Running, place: str, tmp_path: Path) -> None:
        login = f"oauth2accesstoken:{token(running)}"
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), **running.environment}
        there, file = f"docker://{image(place, '1')}", saved(tmp_path / "image.tar")
        for arguments in (
            ["--dest-creds", login, f"docker-archive:{file}", there],
            ["--src-creds", login, there, f"dir:{tmp_path / 'back'}"],
        ):
            command = ["skopeo", "--insecure-policy", "copy", *arguments]
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
        manifest = json.loads((tmp_path / "back" / "manifest.json").read_text())
        (found,) = session().get(f"{API}/{place}/dockerImages").json()["dockerImages"]
        digest = hashlib.sha256((tmp_path / "back" / "manifest.json").read_bytes()).hexdigest()
        assert found["uri"].endswith(f"@sha256:{digest}")
        assert len(manifest["layers"]) == 1

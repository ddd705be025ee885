"""Amazon's container registry: images are pushed to it and pulled from it, by hand and, where it is, by skopeo."""

from __future__ import annotations

import base64
import datetime
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import requests
from aws_account import Account

from cloudml.emulation.running import Running


def image(folder: Path) -> str:
    """An image of one layer, as a folder in the OCI's layout."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "file").write_bytes(os.urandom(3_000_000))
    with tarfile.open(folder / "layer.tar", "w") as tar:
        tar.add(folder / "file", "file")

    def stored(kind: str, body: bytes) -> dict[str, object]:
        name = hashlib.sha256(body).hexdigest()
        (blobs / name).write_bytes(body)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{name}", "size": len(body)}

    tar_bytes = (folder / "layer.tar").read_bytes()
    layer = stored("layer.v1.tar+gzip", gzip.compress(tar_bytes, 1))
    unpacked = f"sha256:{hashlib.sha256(tar_bytes).hexdigest()}"
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [unpacked]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": stored("config.v1+json", json.dumps(config).encode()),
        "layers": [layer],
    }
    index = {"schemaVersion": 2, "manifests": [stored("manifest.v1+json", json.dumps(manifest).encode())]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(index["manifests"][0]["digest"])


def skopeo(aws: Account, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **aws.environment}
    command = ["skopeo", "--insecure-policy", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def registry(aws: Account) -> tuple[str, str, str]:
    """The host of an account's registry, with the user and the password that it takes."""
    data = aws.client("ecr").get_authorization_token()["authorizationData"][0]
    assert data["expiresAt"] > datetime.datetime.now(datetime.UTC)
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return data["proxyEndpoint"].removeprefix("https://"), user, password


def test_the_protocol(aws: Account, running: Running, registry: tuple[str, str, str]) -> None:
    host, user, password = registry
    layer, config = os.urandom(2_000_000), b"{}"
    named = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in (layer, config)]
    with requests.Session() as client:
        client.proxies = {"https": aws.environment["HTTPS_PROXY"]}
        client.verify = aws.environment["AWS_CA_BUNDLE"]
        client.trust_env = False
        root = f"https://{host}/v2/"
        assert client.get(root).status_code == 401
        assert client.get(root, auth=("AWS", "wrong")).status_code == 403
        client.auth = (user, password)
        assert client.get(root).json() == {}
        refused = client.post(f"{root}mine/image/blobs/uploads/")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (404, "NAME_UNKNOWN")
        aws.client("ecr").create_repository(repositoryName="mine/image")

        place = client.post(f"{root}mine/image/blobs/uploads/").headers["Location"]
        for piece in (layer[:999_999], layer[999_999:]):  # in two pieces, of which the second has no length
            answer = client.patch(f"https://{host}{place}", data=iter([piece]))
            assert answer.status_code == 202
        assert answer.headers["Range"] == "0-1999999"
        wrong = client.post(f"{root}mine/image/blobs/uploads/?digest={named[0]}", data=config)
        assert wrong.json()["errors"][0]["code"] == "DIGEST_INVALID"
        manifest = json.dumps({"schemaVersion": 2, "config": {"digest": named[1]}, "layers": [{"digest": named[0]}]})
        kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        early = client.put(f"{root}mine/image/manifests/1", data=manifest, headers=kind)
        assert early.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
        assert client.put(f"https://{host}{place}?digest={named[0]}").status_code == 201
        assert client.post(f"{root}mine/image/blobs/uploads/?digest={named[1]}", data=config).status_code == 201
        done = client.put(f"{root}mine/image/manifests/1", data=manifest, headers=kind)
        assert done.status_code == 201, done.text

        digest = done.headers["Docker-Content-Digest"]
        for reference in ("1", digest):
            found = client.get(f"{root}mine/image/manifests/{reference}")
            assert (found.text, found.headers["Content-Type"]) == (manifest, kind["Content-Type"])
        assert client.get(f"{root}mine/image/blobs/{named[0]}").content == layer
        assert client.head(f"{root}mine/image/blobs/{named[0]}").headers["Content-Length"] == "2000000"
        assert client.get(f"{root}mine/image/tags/list").json()["tags"] == ["1"]
        assert client.get(f"{root}mine/image/manifests/2").status_code == 404
        # An engine of this machine fetches what was pushed from the loopback, and puts nothing there.
        port = running.clouds["sagemaker"].cloud.routes[0].port
        inside = f"http://127.0.0.1:{port}/v2/{host}/mine/image"
        client.auth, client.proxies = None, {}
        assert client.get(f"{inside}/manifests/1").text == manifest
        assert client.post(f"{inside}/blobs/uploads/").status_code == 404
    (described,) = aws.client("ecr").describe_images(repositoryName="mine/image")["imageDetails"]
    assert (described["imageTags"], described["imageDigest"]) == (["1"], digest)


if shutil.which("skopeo"):

    def test_skopeo_pushes_and_pulls(aws: Account, registry: tuple[str, str, str], tmp_path: Path) -> None:
        host, user, password = registry
        made, source = image(tmp_path / "image"), f"oci:{tmp_path / 'image'}"
        there, credentials = f"docker://{host}/mine/image:1", f"{user}:{password}"
        for login in ([], ["--dest-creds", "AWS:wrong"]):
            assert skopeo(aws, tmp_path, "copy", *login, source, there).returncode != 0
        refused = skopeo(aws, tmp_path, "copy", "--dest-creds", credentials, source, there)
        assert "name unknown" in refused.stderr.lower(), refused.stderr
        ecr = aws.client("ecr")
        ecr.create_repository(repositoryName="mine/image")
        pushed = skopeo(aws, tmp_path, "copy", "--dest-creds", credentials, source, there)
        assert pushed.returncode == 0, pushed.stderr
        (described,) = ecr.describe_images(repositoryName="mine/image")["imageDetails"]
        assert (described["imageTags"], described["imageDigest"]) == (["1"], made)
        pulled = skopeo(aws, tmp_path, "copy", "--src-creds", credentials, there, f"oci:{tmp_path / 'back'}")
        assert pulled.returncode == 0, pulled.stderr
        blobs = [{path.name for path in (tmp_path / name / "blobs/sha256").iterdir()} for name in ("image", "back")]
        assert blobs[0] == blobs[1]

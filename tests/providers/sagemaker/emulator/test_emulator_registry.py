"""Amazon's container registry: images are pushed to it and pulled from it by a client that nobody here wrote."""

from __future__ import annotations

import base64
import datetime
import gzip
import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

from aws_account import Account


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


def test_an_image_is_pushed_described_and_pulled(aws: Account, tmp_path: Path) -> None:
    made = image(tmp_path / "image")
    ecr = aws.client("ecr")
    data = ecr.get_authorization_token()["authorizationData"][0]
    assert data["expiresAt"] > datetime.datetime.now(datetime.UTC)
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    host = data["proxyEndpoint"].removeprefix("https://")
    credentials, there = f"{user}:{password}", f"docker://{host}/mine/image:1"
    source = f"oci:{tmp_path / 'image'}"

    for login in ([], ["--dest-creds", "AWS:wrong"]):
        assert skopeo(aws, tmp_path, "copy", *login, source, there).returncode != 0
    refused = skopeo(aws, tmp_path, "copy", "--dest-creds", credentials, source, there)
    assert "name unknown" in refused.stderr.lower(), refused.stderr

    ecr.create_repository(repositoryName="mine/image")
    pushed = skopeo(aws, tmp_path, "copy", "--dest-creds", credentials, source, there)
    assert pushed.returncode == 0, pushed.stderr
    (described,) = ecr.describe_images(repositoryName="mine/image")["imageDetails"]
    assert (described["imageTags"], described["imageDigest"]) == (["1"], made)
    pulled = skopeo(aws, tmp_path, "copy", "--src-creds", credentials, there, f"oci:{tmp_path / 'back'}")
    assert pulled.returncode == 0, pulled.stderr
    blobs = [{path.name for path in (tmp_path / name / "blobs/sha256").iterdir()} for name in ("image", "back")]
    assert blobs[0] == blobs[1]

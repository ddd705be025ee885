"""Building: what is built again and what is not, and that no secret of whoever builds is in it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from conftest import Images

from cloudml.errors import RunFailed
from cloudml.images import build, recipe


def layers(engine: Any, name: str) -> list[str]:
    found: list[str] = engine.images.get(name).attrs["RootFS"]["Layers"]
    return found


def test_another_model_is_one_layer_more(images: Images, model: Path, engine: Any) -> None:
    first = images.build(model)
    (model / "nonce").write_text("another")
    second = images.build(model)
    assert first.name != second.name
    assert layers(engine, first.name)[:-1] == layers(engine, second.name)[:-1]
    assert layers(engine, first.name)[-1] != layers(engine, second.name)[-1]


def test_the_same_contents_are_not_built_again(images: Images, model: Path) -> None:
    assert images.build(model).made
    assert not images.build(model).made
    assert images.build(model, again=True).made


def test_no_secret_is_in_a_layer_or_in_the_history(
    images: Images, model: Path, engine: Any, nonce: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"{nonce[::-1]}-of-nobody-else"
    monkeypatch.setenv("NO_PROXY", f"{secret}.example")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"https://me:{secret}@127.0.0.1/simple")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    built = images.build(model, again=True)
    image = engine.images.get(built.name)
    assert secret not in json.dumps(image.history()) + json.dumps(image.attrs)
    searched = 0
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.save()))) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                searched += 1
                assert secret.encode() not in file.read(), member.name
    assert searched > 5


def test_files_are_compiled_and_belong_to_nobody_in_particular(images: Images, model: Path, engine: Any) -> None:
    look = (
        "import glob, os; found = glob.glob('/opt/cloudml/lib/cloudml/runtime/__pycache__/*.pyc'); "
        "modes = [os.stat(path).st_mode for path in glob.glob('/opt/cloudml/**', recursive=True)]; "
        "print(len(found) > 10, all(mode & 0o444 == 0o444 for mode in modes))"
    )
    said = engine.containers.run(images.build(model).name, ["-c", look], entrypoint="python3", remove=True)
    assert said.decode().split() == ["True", "True"]


def test_a_base_that_is_not_there_is_said(engine: Any) -> None:
    made = recipe("127.0.0.1:1/no-such-base:1")
    with pytest.raises(RunFailed, match=r"the base image 127\.0\.0\.1:1/no-such-base:1 cannot be had") as raised:
        build(made, lambda _: None, client=engine)
    assert "CLOUDML_IMAGE_BASE" in str(raised.value.hint)


def test_a_requirement_that_nobody_has_shows_pips_words(engine: Any, base: str) -> None:
    made = recipe(base, ["cloudml-sdk==0.0.0"])
    with pytest.raises(RunFailed, match="No matching distribution found for cloudml-sdk"):
        build(made, lambda _: None, client=engine)


def test_a_proxy_of_this_machine_s_loopback_is_not_the_build_s(
    engine: Any, base: str, nonce: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `cloudml emulate` sets it; what is required is new each time, so that pip has to ask."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    made = recipe(base, [f"iniconfig!=0.{int(nonce[:8], 16)}"], extras=())
    try:
        assert build(made, lambda _: None, client=engine).made
    finally:
        for image in engine.images.list(made.name):
            engine.images.remove(image.id, force=True)

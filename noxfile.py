#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.5.1"]
# ///
"""Every check of this project, on a machine that has only Python and git.

    python3 noxfile.py                    lists the sessions
    python3 noxfile.py demo               the quickstart, end to end
    python3 noxfile.py tests -k reconcile what follows the session's name goes to its tool
    python3 noxfile.py lint types layers  several, one after the other

Run as a script without nox, it installs the pinned nox in ``.nox/bootstrap`` and goes on there. ``nox -s tests`` and
``uv run noxfile.py tests`` do the same. Each session installs the pins of ``requirements/<session>.txt`` and keeps its
environment until they change.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("cloudml needs Python 3.11 or newer; this is {}.{}.".format(*sys.version_info))

ROOT = Path(__file__).resolve().parent
NOX = ROOT / ".nox"
ROOTS = sorted(root.relative_to(ROOT).as_posix() for root in ROOT.glob("providers/*/"))  # each provider's source root
PIP = ("--disable-pip-version-check", "--no-input", "-qq")


def pins(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def pinned(session: str) -> str:
    """Whose pins a session has: some need what another one needs."""
    return {"versions": "tests", "trials": "matrix", "localstack": "sagemaker"}.get(session.partition("-")[0], session)


def digest(*files: Path) -> str:
    """What an environment was made from: its pins and its Python."""
    total = hashlib.sha256(f"{sys.version} {sys.base_prefix}".encode())
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def read(stamp: Path) -> str:
    return stamp.read_text() if stamp.is_file() else ""


def bootstrap() -> Path:
    """The Python of an environment that has the pinned nox, made if it is not there."""
    place = NOX / "bootstrap"
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = place / "pins"
    if python.exists() and read(stamp) == digest(pins("nox")):
        return python
    print(f"Setting up nox in {place.relative_to(ROOT)} (once)", file=sys.stderr, flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], capture_output=True, text=True)
    if made.returncode:
        sys.exit(
            f"{made.stdout}{made.stderr}\nThis Python cannot make environments (Debian: apt install python3-venv)."
        )
    install = [str(python), "-m", "pip", "install", *PIP, "--require-hashes", "-r", str(pins("nox"))]
    if subprocess.run(install).returncode:
        sys.exit("The pinned nox could not be installed: is a package index within reach?")
    stamp.write_text(digest(pins("nox")))
    return python


try:
    import nox
except ModuleNotFoundError:
    if __name__ != "__main__":
        raise
    command = [str(bootstrap()), str(ROOT / "noxfile.py"), *sys.argv[1:]]
    if os.name == "nt":  # there, exec returns to the shell before the new program has ended
        sys.exit(subprocess.run(command).returncode)
    os.execv(command[0], command)

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["tests", "lint", "types", "layers"]
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "virtualenv"


def prepare(session: nox.Session, *, project: bool = False) -> None:
    """Install the session's pins, and the project itself in place, unless they are there already."""
    place = Path(session.virtualenv.location)
    wanted = pins(pinned(session.name))
    if read(place / "pins") != digest(wanted):
        session.install(*PIP, "--no-compile", "--require-hashes", "-r", str(wanted))
        (place / "pins").write_text(digest(wanted))
    metadata = (ROOT / "pyproject.toml", ROOT / "src/cloudml/__init__.py")
    if project and read(place / "project") != digest(*metadata):
        session.install(*PIP, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
        (place / "project").write_text(digest(*metadata))


def drop_outdated() -> None:
    """Remove the environments whose pins have changed since, so that nothing stays in them that is no longer pinned."""
    for stamp in NOX.glob("*/pins"):
        wanted = pins(pinned(stamp.parent.name))
        if stamp.parent.name != "bootstrap" and (not wanted.is_file() or stamp.read_text() != digest(wanted)):
            shutil.rmtree(stamp.parent)


def pytest(session: nox.Session, *arguments: str) -> None:
    """The tests; in CI what failed is run once more, alone, and what then passes is named as unstable.

    A machine that is shared with others may stall a process for longer than any deadline. Other failures stay failures,
    and so does everything that is not a test's own: a broken import, a process left behind.
    """
    command = ["python", "-m", "pytest", *arguments, *session.posargs]
    if not os.environ.get("CI"):
        session.run(*command)
        return
    memory = Path(session.virtualenv.location) / "failed"
    shutil.rmtree(memory, ignore_errors=True)
    command += ["-o", f"cache_dir={memory}"]
    try:
        session.run(*command)
    except nox.command.CommandFailed as failure:
        if failure.return_code != 1:  # 1: tests failed
            raise
        print("\nOnce more, what failed alone:", flush=True)
        session.run(*command, "-n", "0", "--last-failed", "--last-failed-no-failures=none")
        print("UNSTABLE: the tests above failed, and passed when they ran alone", flush=True)


@nox.session
def demo(session: nox.Session) -> None:
    """Train, register, deploy, predict, find drift, tear down: the quickstart on this machine."""
    prepare(session, project=True)
    session.run("python", "examples/quickstart/demo.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, on two processes."""
    prepare(session, project=True)
    pytest(session, "-n", "2", "--durations", "10", "--durations-min", "1")


@nox.session(python=["3.12", "3.13"])
def versions(session: nox.Session) -> None:
    """All tests on the other Pythons; one that is not installed is skipped here and an error in CI."""
    prepare(session, project=True)
    pytest(session, "-n", "2")


@nox.session
def minimal(session: nox.Session) -> None:
    """The core without any extra: the command line, and the tests marked `minimal`."""
    prepare(session, project=True)
    session.run("python", "-c", "import importlib.util as u; assert not u.find_spec('numpy'), 'an extra is installed'")
    session.run("cloudml", "--help", silent=True)
    marked = [str(file) for file in sorted(Path("tests").rglob("test_*.py")) if "mark.minimal" in file.read_text()]
    pytest(session, "-m", "minimal", *marked)


AZURITE = "3.37.0"
IMAGE_BASE = "cloudml-base:bookworm"


def azurite(session: nox.Session) -> str:
    """Azurite's program, which npm puts into .nox/azurite."""
    if not shutil.which("npm"):
        session.error("Azurite needs Node 20 or newer with npm, and this session installs neither")
    place = NOX / "azurite"
    if read(place / "version") != AZURITE:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        npm = ("npm", "install", "--prefix", str(place), "--no-audit", "--no-fund", "--silent", f"azurite@{AZURITE}")
        session.run(*npm, external=True)
        (place / "version").write_text(AZURITE)
    return str(place / "node_modules/.bin/azurite-blob")


@nox.session
def vertex(session: nox.Session) -> None:
    """Vertex AI: its emulator, the adapter on it, and Google's own SDK on it."""
    prepare(session, project=True)
    pytest(session, "-n", "2", "tests/providers/vertex")


@nox.session
def azureml(session: nox.Session) -> None:
    """Azure ML: its emulator, Microsoft's own SDK and command line on it. Node; npm puts Azurite into .nox/azurite."""
    prepare(session, project=True)
    beside(session, "azurecli")
    docker(session)
    session.env["CLOUDML_AZURITE"] = azurite(session)
    pytest(session, "-n", "2", "tests/providers/azureml")


@nox.session
def sagemaker(session: nox.Session) -> None:
    """SageMaker: the emulated AWS, the adapter on it, and clients of others: boto3, the AWS CLI, sagemaker-core."""
    prepare(session, project=True)
    for name in ("awscli", "sagemaker_core"):
        beside(session, name)
    pytest(session, "-n", "2", "tests/providers/sagemaker")


@nox.session
def localstack(session: nox.Session) -> None:
    """SageMaker's emulator with S3, IAM, STS, CloudWatch, Logs and SNS by LocalStack, on the host."""
    prepare(session, project=True)
    beside(session, "localstack")
    pytest(session, "-n", "2", "--dist", "loadfile", "tests/providers/localstack", "tests/trials/localstack")


def beside(session: nox.Session, name: str) -> None:
    """An environment for what needs versions of its own; CLOUDML_<NAME> tells the tests its Python."""
    place = NOX / f"{session.name}-{name}"
    python = place / "bin" / "python"
    if read(place / "stamp") != digest(pins(name)):
        shutil.rmtree(place, ignore_errors=True)
        session.run("python", "-m", "venv", str(place))
        install = (str(python), "-m", "pip", "install", *PIP, "--no-compile", "--require-hashes")
        session.run(*install, "-r", str(pins(name)), external=True)
        (place / "stamp").write_text(digest(pins(name)))
    session.env[f"CLOUDML_{name.upper()}"] = str(python)


@nox.session
def matrix(session: nox.Session) -> None:
    """The unchanged quickstart on every provider, one by one and all at once: one table, equal in every row."""
    prepare(session, project=True)
    session.env["CLOUDML_AZURITE"] = azurite(session)
    clouds = ("sagemaker", "azureml", "vertex")
    here = ("local", "docker") if docker(session) else ("local",)
    emulated = ("cloudml", "emulate", *clouds, "--network", "proxy", "--")  # containers are reached on this network
    session.run(*emulated, "python", "examples/matrix.py", *here, *clouds)
    pytest(session, "tests/matrix", "examples/emulated")


@nox.session
def trials(session: nox.Session) -> None:
    """Ten stories on every emulated cloud: in containers, slow, throttled, with operations that fail, over REST."""
    prepare(session, project=True)
    session.env["CLOUDML_AZURITE"] = azurite(session)
    docker(session)
    pytest(session, "-n", "2", "--dist", "loadscope", "tests/trials", "--durations", "10", "--durations-min", "1")


def docker(session: nox.Session) -> bool:
    """Whether a Docker engine answers, as it must in CI; images then begin with the one that .ci/containers makes."""

    def answers(*question: str) -> bool:
        return subprocess.run(("docker", *question), capture_output=True, timeout=60).returncode == 0

    if not (shutil.which("docker") and answers("version")):
        if os.environ.get("CI"):
            session.error("no Docker engine answers; .ci/containers starts one")
        session.log("no Docker engine answers: it goes without docker")
        return False
    if "CLOUDML_IMAGE_BASE" not in os.environ and answers("image", "inspect", IMAGE_BASE):
        session.env["CLOUDML_IMAGE_BASE"] = IMAGE_BASE
    return True


@nox.session
def containers(session: nox.Session) -> None:
    """Real containers and a real registry. Needs a Docker engine, docker-registry, and an image to start from."""
    prepare(session, project=True)
    beside(session, "sagemaker_train")
    pytest(session, "-n", "2", "tests/containers", "--durations", "10", "--durations-min", "1")


@nox.session
def foreign(session: nox.Session) -> None:
    """The endpoint asked by clients that nobody here wrote; wants curl and Prometheus (Debian: prometheus)."""
    prepare(session, project=True)
    pytest(session, "-n", "2", "tests/foreign/serving")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and format. `lint -- --fix` repairs both."""
    prepare(session)
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []))
    session.run("ruff", "format", *([] if fix else ["--check"]))


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over product, provider, examples and this file."""
    prepare(session)
    for paths in (["src", *ROOTS], ["noxfile.py"]):
        session.run("mypy", *paths, *session.posargs)
    for file in scripts():
        session.run("mypy", file, *session.posargs, env={"MYPYPATH": str(Path(file).parent)})


def scripts() -> list[str]:
    """The examples' programs; each is a module of its own, and two may have the same name."""
    return [file.as_posix() for file in sorted(Path("examples").rglob("*.py"))]


@nox.session
def layers(session: nox.Session) -> None:
    """import-linter: who may import whom."""
    prepare(session)
    path = os.pathsep.join(str(ROOT / root) for root in ("src", *ROOTS))
    session.run("lint-imports", "--no-cache", *session.posargs, env={"PYTHONPATH": path})


@nox.session
def wheel(session: nox.Session) -> None:
    """Build wheel and sdist, look inside, install the wheel in an empty environment elsewhere and run it."""
    prepare(session)
    with tempfile.TemporaryDirectory(prefix="cloudml-wheel-") as folder:
        session.run("python", "-m", "hatchling", "build", "-d", folder, silent=True)
        (built,) = Path(folder).glob("*.whl")
        (source,) = Path(folder).glob("*.tar.gz")
        look_inside(session, built)
        session.run("python", "-m", "venv", f"{folder}/empty")
        python = f"{folder}/empty/{'Scripts' if os.name == 'nt' else 'bin'}/python"
        install = (python, "-m", "pip", "install", *PIP)
        session.run(*install, "--require-hashes", "-r", str(pins("core")), external=True)
        session.run(*install, "--no-deps", str(built), external=True)
        session.run(python, "-m", "pip", "check", external=True)
        session.chdir(folder)
        for arguments in (["--version"], ["--help"], ["providers"]):
            session.run(python, "-I", "-m", "cloudml", *arguments, external=True)
            session.run(str(Path(python).with_name("cloudml")), *arguments, external=True, silent=True)
        session.log(
            f"{built.name} {built.stat().st_size // 1024} KiB, {source.name} {source.stat().st_size // 1024} KiB"
        )


# What may stand at the top of a wheel.
PACKAGES = {"cloudml", "cloudml_sdk", *(f"cloudml_{Path(root).name}" for root in ROOTS)}


def look_inside(session: nox.Session, built: Path) -> None:
    """What a wheel must and must not contain."""
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        placed = [name for name in names if str(ROOT).encode() in archive.read(name)]
    for needed in ("cloudml/py.typed", "cloudml/cli/__init__.py", "cloudml_local/plugin.py"):
        if needed not in names:
            session.error(f"{needed} is not in the wheel")
    strange = [name for name in names if name.split("/")[0].split("-")[0] not in PACKAGES]
    tested = [name for name in names if "tests/" in name or "/test_" in name or "conftest" in name]
    if strange or tested or placed:
        session.error(f"not for a wheel: {strange + tested}; with this checkout's path inside: {placed}")


# Which pins cover the project's own dependencies too, and with which extras.
OF_PROJECT = {
    "core": (),
    "minimal": (),
    "demo": ("serve",),
    "tests": ("serve",),
    "types": ("serve",),
    "azureml": ("serve", "docker", "azureml", "emulators"),
    "foreign": ("serve",),
    "sagemaker": ("serve", "sagemaker", "emulators"),
    "containers": ("serve", "docker", "emulators"),
    "matrix": ("serve", "docker", "sagemaker", "azureml", "vertex", "emulators"),
    "vertex": ("serve", "vertex", "emulators"),
}


@nox.session(name="pins", default=False)
def renew(session: nox.Session) -> None:
    """Renew requirements/*.txt from pyproject.toml and the .in files beside them."""
    session.install(*PIP, "uv")
    renewal = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade"]
    renewal += ["--no-emit-index-url", "--no-annotate", "--quiet"]
    renewal += ["--custom-compile-command", "python3 noxfile.py pins"]
    for file in sorted(Path("requirements").glob("*.in")):
        extras = OF_PROJECT.get(file.stem)
        project = [] if extras is None else ["pyproject.toml", *(f"--extra={extra}" for extra in extras)]
        session.run(*renewal, *project, str(file), "-o", str(file.with_suffix(".txt")), silent=True)


def arguments(given: list[str]) -> list[str]:
    """nox's own arguments: leading words are sessions, the rest goes to them; nothing lists them."""
    if not given or given[0].startswith("-"):
        return given or ["--list"]
    ours = 1
    while ours < len(given) and not given[ours].startswith("-") and not {".", "/", os.sep} & set(given[ours]):
        ours += 1
    rest = given[ours:]
    return ["-s", *given[:ours], "--", *(rest[1:] if rest[:1] == ["--"] else rest)]


if __name__ == "__main__":
    sys.argv[1:] = ["-f", str(ROOT / "noxfile.py"), *arguments(sys.argv[1:])]
    nox.main()
else:
    drop_outdated()

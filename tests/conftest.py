"""Fixtures: real parts only. What a machine lacks is said; under HARNESS_REQUIRE_ALL it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import harness_command, needed, write_suite
from tests.support.sshd import Sshd, start_sshd

# Machines that run tests are shared and noisy: nothing here is judged by its speed.
# Nightly machines try new examples; a gate gives the same answer twice.
settings.register_profile(
    "quiet",
    derandomize=bool(os.environ.get("CI") or os.environ.get("HARNESS_REQUIRE_ALL")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=80,
)
settings.load_profile("quiet")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole session: models are trained and converted once."""
    folder = tmp_path_factory.mktemp("cache")
    names = ("HARNESS_CACHE", "HARNESS_LOCKS", "HARNESS_STORE")
    before = {name: os.environ.get(name) for name in names}
    os.environ["HARNESS_CACHE"] = str(folder)
    os.environ["HARNESS_LOCKS"] = str(folder / "shared-locks")  # other tests of this machine wait
    os.environ.pop("HARNESS_STORE", None)
    yield folder
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data."""
    folder = Path(os.environ.get("HARNESS_SHARED") or ROOT.parent / "shared").resolve()
    if not (folder / "models" / "mlperf_tiny").is_dir():
        needed(f"no real models at {folder}: set HARNESS_SHARED")
    return folder


@pytest.fixture(scope="session")
def digits(cache: Path) -> dict[str, Path]:
    """The digits network and its variants as files: ``model``, ``float32``, ``int8``, ..."""
    from harness.config.suites import load_suite
    from harness.orchestrate.environment import known_names
    from harness.orchestrate.prepare import Ready, prepare
    from harness.recipes.making.builtin import builtin_path
    from tests.support.conversions import PLAIN

    suite = load_suite("demo", known_names(), recipes=PLAIN)
    found: dict[str, Path] = {}
    prepared = prepare(suite, [("digits", name) for name in PLAIN], lambda event: None)
    for (_, recipe), ready in prepared.items():
        assert isinstance(ready, Ready), ready
        found[recipe] = ready.variant.path
        found["samples"] = ready.data.samples.path
    found["model"] = builtin_path("digits_cnn")
    return found


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of ``tests.support.detector``: a real TFLite_Detection_PostProcess."""
    path = tmp_path_factory.mktemp("detector") / "detector.tflite"
    subprocess.run(
        [sys.executable, "-m", "tests.support.detector", str(path)], cwd=ROOT, check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A real OpenSSH server on a free loopback port, run by this user."""
    with start_sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def suite_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a suite over the digits and returns its path; see ``write_suite``."""

    def write(**changes: object) -> Path:
        return write_suite(tmp_path / "suite.toml", **changes)  # type: ignore[arg-type]

    return write


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``harness`` as a user does, in a working folder of its own."""

    def run(
        *arguments: str, timeout: float = 150, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*harness_command(), *arguments],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def interpreters() -> Iterator[dict[str, str]]:
    """Minor version -> interpreter, from 3.7 on, of those that this machine has.

    Interpreters that look for their shared library where they were built find it by
    ``LD_LIBRARY_PATH`` where they have been moved; each has a name of its own.
    """
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    folder = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    paths = sorted(folder.glob("3.*/bin/python3")) if os.access(folder, os.R_OK | os.X_OK) else []
    before = os.environ.get("LD_LIBRARY_PATH")
    libraries = [str(path.parent.parent / "lib") for path in paths]
    os.environ["LD_LIBRARY_PATH"] = ":".join([*libraries, *filter(None, [before])])
    for path in paths:
        minor = ".".join(path.parent.parent.name.split(".")[:2])
        runs = subprocess.run([str(path), "-c", "pass"], capture_output=True, check=False)
        if int(minor.split(".")[1]) >= 7 and runs.returncode == 0:
            found.setdefault(minor, str(path))
    yield found
    os.environ.pop("LD_LIBRARY_PATH")
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before


@pytest.fixture(scope="session")
def arm64_root(request: pytest.FixtureRequest) -> Path:
    """The root of the emulated arm64 Debian, made once and kept from one session to the next."""
    from harness.emulation.linux_arm64 import root
    from harness.errors import MissingToolError

    kept = pytest.MonkeyPatch()
    request.addfinalizer(kept.undo)
    if not os.environ.get("HARNESS_EMULATION_ROOTS"):
        kept.setenv("HARNESS_EMULATION_ROOTS", str(request.config.cache.mkdir("emulation")))
    try:
        return root.ensure_root(lambda text: None)
    except MissingToolError as error:
        needed(str(error))


@pytest.fixture(scope="session")
def emulated_arm64(arm64_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The profile of a running emulated arm64 Debian, ``emulated-arm64.toml``."""
    from harness.emulation import EMULATORS

    with EMULATORS["linux-arm64"].make({}) as target:
        path = tmp_path_factory.mktemp("devices") / "emulated-arm64.toml"
        path.write_text(target.start(lambda text: None))
        yield path


@pytest.fixture
def factories(tmp_path: Path) -> Path:
    """The module ``factories`` in the working folder."""
    shutil.copyfile(ROOT / "tests" / "support" / "factories.py", tmp_path / "factories.py")
    return tmp_path

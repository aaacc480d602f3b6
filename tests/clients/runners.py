"""The clients of a bundle, each made ready once: how to run its self-test, or why it cannot be run here."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import trainkit

DEPLOY = Path(trainkit.__file__).parent / "deploy"
OPENCV_JS = ("4.12.0-release.1", "5.0.0-release.1")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_LINE = re.compile(
    r"OpenCV (?P<opencv>[^:]+): (?P<verdict>the same|NOT the) answers.*?\. (?P<labels>\d+) of (?P<images>\d+) labels, "
    r".*?largest difference (?P<difference>[\d.e+-]+)(?:, (?P<equal>\d+) of (?P<originals>\d+) originals equal)?\. "
    r"Model file: (?P<file>[^.]+)\."
)

_CHOOSE_FILES = """
const done = arguments[0], times = [];
(async () => {
  const photo = await (await fetch("photo.jpg")).blob();
  for (let i = 0; i < 60; i++) {
    const chosen = new DataTransfer();
    chosen.items.add(new File([photo], `${i}.jpg`, { type: "image/jpeg" }));
    file.files = chosen.files;
    const said = new Promise((resolve) => new MutationObserver(resolve).observe(spoken, { childList: true }));
    const started = performance.now();
    file.dispatchEvent(new Event("change"));
    await said;
    times.push(performance.now() - started);
  }
  done(times.slice(10));
})();
"""


class MissingError(Exception):
    """A client cannot be run here; says what is missing and where it comes from."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client that is ready."""

    name: str
    selftest: Callable[[Path], str]  # of a bundle: the line that it says, or the error
    formats: tuple[str, ...] = ("onnx", "frozen-graph")
    classify: Callable[[Path, list[Path]], Any] | None = None  # some images, as a whole process
    milliseconds: Callable[[Path, Path], float] | None = None  # from a photograph to its labels, in a page


def read_line(line: str) -> dict[str, str] | None:
    """Return the parts of what a self-test says; `None` where it is an error."""
    match = _LINE.search(line)
    return match.groupdict() if match else None


def _run(command: list[Any], cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=300)
    return (done.stdout + done.stderr).strip()


def _tool(*names: str, package: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise MissingError(f"there is no {names[0]} (Debian: {package})")


def python_client() -> Client:
    """The Python client, with the OpenCV that is installed."""

    def command(bundle: Path, *arguments: Any) -> str:
        return _run([sys.executable, "-I", bundle / "classify.py", *arguments])

    return Client(
        "python", lambda bundle: command(bundle, "--selftest"), classify=lambda b, images: command(b, *images)
    )


def cpp_client(folder: Path) -> Client:
    """The C++ client, built into `folder`.

    Raises:
        MissingError: there is no compiler, no CMake or no OpenCV for C++.
    """
    _tool("c++", "g++", package="g++")
    cmake = _tool("cmake", package="cmake")
    said = _run([cmake, "-S", DEPLOY / "cpp", "-B", folder])
    if not (folder / "CMakeCache.txt").exists() or "OpenCVConfig.cmake" in said:
        raise MissingError("there is no OpenCV for C++ (Debian: libopencv-dev)")
    said = _run([cmake, "--build", folder])
    program = folder / "classify"
    if not program.exists():
        raise RuntimeError(said)
    return Client(
        "c++",
        lambda bundle: _run([program, bundle, "--selftest"]),
        classify=lambda bundle, images: _run([program, bundle, *images]),
    )


def install_packages(client: str, version: str, folder: Path) -> Path:
    """Install what a client's `package.json` names, with one version of opencv-js, and return the folder.

    Raises:
        MissingError: there is no npm, or it reaches no registry.
    """
    npm = _tool("npm", package="npm")
    _tool("node", package="nodejs")
    target = folder / f"{client}-{version}"
    if (target / "installed").exists():
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    package = json.loads((DEPLOY / client / "package.json").read_text(encoding="utf-8"))
    package["dependencies"]["@techstark/opencv-js"] = version
    (target / "package.json").write_text(json.dumps(package), encoding="utf-8")
    done = subprocess.run([npm, "install", "--no-audit", "--no-fund"], cwd=target, capture_output=True, text=True)
    if done.returncode:
        raise MissingError(f"npm cannot install opencv-js {version} ({done.stderr.strip()[-200:]})")
    (target / "installed").touch()
    return target


def node_client(version: str, folder: Path) -> Client:
    """The Node.js client, with one version of opencv-js.

    Raises:
        MissingError: there is no Node.js, or npm reaches no registry.
    """
    packages = install_packages("node", version, folder) / "node_modules"

    def command(bundle: Path, *arguments: Any) -> str:
        link = bundle / "node" / "node_modules"
        link.unlink(missing_ok=True)
        link.symlink_to(packages)
        return _run(["node", bundle / "node" / "classify.mjs", *arguments])

    return Client(
        f"node, opencv-js {version}",
        lambda bundle: command(bundle, "--selftest"),
        classify=lambda bundle, images: command(bundle, *images),
    )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine, and give its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("localhost", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def browser(*flags: str) -> Iterator[Any]:
    """Give a headless Chromium, driven by selenium.

    Raises:
        MissingError: there is no Chromium or no driver.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = _tool(*CHROMIUM, package="chromium")
    driver = _tool("chromedriver", package="chromium-driver")
    usual = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
    for flag in (*usual, "disable-component-update", "disable-sync", "disable-dev-shm-usage", *flags):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


def web_client(version: str, folder: Path) -> Client:
    """The page in Chromium, with one version of opencv.js.

    Raises:
        MissingError: there is no browser, or npm reaches no registry.
    """
    from selenium.webdriver.support.wait import WebDriverWait

    _tool(*CHROMIUM, package="chromium")
    _tool("chromedriver", package="chromium-driver")
    script = install_packages("web", version, folder) / "opencv.js"

    def selftest(bundle: Path) -> str:
        shutil.copyfile(script, bundle / "web" / "opencv.js")
        with served(bundle) as address, browser() as page:
            page.get(f"{address}web/")
            line = WebDriverWait(page, 120).until(
                lambda it: it.execute_script("return line.textContent || document.getElementById('alert').textContent")
            )
            errors = [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
            return str(line) + "".join(f" CONSOLE: {error}" for error in errors)

    def milliseconds(bundle: Path, photo: Path) -> float:
        shutil.copyfile(script, bundle / "web" / "opencv.js")
        shutil.copyfile(photo, bundle / "web" / "photo.jpg")
        with served(bundle) as address, browser() as page:
            page.set_script_timeout(120)
            page.get(f"{address}web/")
            WebDriverWait(page, 120).until(lambda it: it.execute_script("return line.textContent"))
            return statistics.median(page.execute_async_script(_CHOOSE_FILES))

    return Client(f"web, opencv.js {version}", selftest, milliseconds=milliseconds)


def find_clients(folder: Path, *, quick: bool) -> tuple[list[Client], dict[str, str]]:
    """Make every client ready; for `quick` one of each kind.

    Returns:
        Those that are ready, and why the others are not.
    """
    versions = OPENCV_JS[-1:] if quick else OPENCV_JS
    makers: dict[str, Callable[[], Client]] = {"python": python_client, "c++": lambda: cpp_client(folder / "cpp")}
    for version in versions:
        makers[f"node, opencv-js {version}"] = partial(node_client, version, folder)
        makers[f"web, opencv.js {version}"] = partial(web_client, version, folder)
    ready, missing = [], {}
    for name, make in makers.items():
        try:
            ready.append(make())
        except MissingError as error:
            missing[name] = str(error)
    return ready, missing

"""Manifests, changed, through all four readers: each must give the verdict, and the sentence, that Python gives."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from mutations import mutate_text, mutate_value, write_json

from trainkit.deploy.python import BundleError
from trainkit.deploy.python._manifest import parse_manifest

ROOT = Path(__file__).resolve().parents[2]
READERS = ROOT / "tests" / "deploy"
SCHEMA_JS = ROOT / "trainkit" / "deploy" / "javascript" / "schema.js"
BATCH = 500
Read = Callable[[list[bytes]], list[str | None]]  # of each manifest the sentence; None where it is accepted


def draw_manifest(generator: random.Random) -> bytes:
    """Return a manifest: about a fifth of them hold."""
    manifest = _valid(generator)
    for _ in range(generator.choice((0, 1, 1, 1, 1, 1, 2, 3))):
        manifest = mutate_value(manifest, generator)
    text = write_json(manifest, generator)
    if generator.random() < 0.15:
        text = mutate_text(text, generator)
    data = text.encode("utf-8", "surrogatepass")
    if generator.random() < 0.02:
        where = generator.randrange(len(data) + 1)
        data = (
            data[:where] + generator.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80")) + data[where:]
        )
    return data


def _valid(generator: random.Random) -> dict[str, Any]:
    """Return a manifest that holds, with some of the keys that may be there."""
    maybe = lambda **keys: {key: value for key, value in keys.items() if generator.random() < 0.4}  # noqa: E731
    model_format = generator.choice(("onnx", "onnx", "frozen-graph", "caffe"))
    graph = {"graph": "net.prototxt"} if model_format == "caffe" else {}
    kind = generator.choice(("softmax", "sigmoid", "logits", "ssd"))
    several = {"softmax": {}, "ssd": maybe(background=0, min_confidence=0.25)}.get(kind, maybe(multi_label=True))
    names = ["Katze", "Hund", "Kuh", "\U0001f404 \u202e"][: generator.randint(1, 4)]
    schema = generator.choice(("trainkit/1", "trainkit/2"))
    if schema == "trainkit/2" and kind != "ssd":
        one = "multi_label" not in several
        several |= maybe(reject_below=0.75) if one else maybe(thresholds=[0.5, 0.25, 0.125, 1e-9][: len(names)])
    pad, gray = {"step": "pad", "color_bgr": [0, 114, 255.0]}, {"step": "gray"}
    return {
        "schema": schema,
        "model": {"file": "net.onnx", "format": model_format, **graph}
        | maybe(bytes=4691, sha256="0f" * 32, input="image", output="probabilities", opset=13),
        "blob": {"scalefactor": 1 / 127.5, "size": [32, 24], "mean": [127.5] * 3, "swapRB": True, "crop": False},
        "output": {"kind": kind, "class_names": names} | several,
        **maybe(
            source=maybe(run="20260101-120000-digits", keras="a.keras", keras_sha256="a0" * 32, from_logits=True)
            | maybe(output="dense", application="MobileNet", weights="imagenet", alpha=0.75),
            preprocessing={"height": 24, "width": 32, "resize": "pad", "color": "rgb", "mean": [0.5], "std": [0.5]}
            | maybe(pad_color=[0, 0, 0], mean_image="mean.npy", samplewise="center"),
            opencv=maybe(minimum="4.10.0-dev", engine="classic", verified={"5.0.0": {"max": 1e-6}}),
            before_blob=generator.choice(([], [pad], [gray], [pad, gray])),
            extra={"latency_ms": {"p50": 1.25e-3}, "note": ["\n", None, True]},
        ),
    }


def read_with_python(manifests: list[bytes]) -> list[str | None]:
    """Return what the Python client says of each."""
    return [_sentence_of(data) for data in manifests]


def _sentence_of(data: bytes) -> str | None:
    try:
        parse_manifest(data, "manifest.json")
    except BundleError as error:
        return str(error)
    return None


@contextmanager
def _process(*command: str | Path) -> Iterator[Read]:
    """Start a reader that answers length-prefixed manifests with a line of JSON each; see `read_manifests.cpp`."""
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        yield lambda manifests: _ask(process.stdin, process.stdout, manifests)  # type: ignore[arg-type]
        process.stdin.close()
        if process.wait(60):
            raise SystemExit(f"{command[0]} ended with {process.returncode}")


def _ask(to: IO[bytes], answers: IO[bytes], manifests: list[bytes]) -> list[str | None]:
    def write() -> None:
        to.write(b"".join(b"%08x\n%b" % (len(data), data) for data in manifests))
        to.flush()

    writing = threading.Thread(target=write)  # a pipe holds little: who only writes waits for one who only writes
    writing.start()
    found = [json.loads(answers.readline())["sentence"] for _ in manifests]
    writing.join()
    return found


@contextmanager
def _page() -> Iterator[Read]:
    """Start a browser in which the page's script reads."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.get("about:blank")
        script = SCHEMA_JS.read_text(encoding="utf-8") + _READ_IN_PAGE
        yield lambda manifests: driver.execute_script(script, [data.hex() for data in manifests])
    finally:
        driver.quit()


_READ_IN_PAGE = """
return arguments[0].map((hex) => {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  try { contract.parseManifest(bytes, "manifest.json"); } catch (error) { return error.message; }
  return null;
});
"""


def _build_cpp(folder: Path) -> Path | None:
    """Return the reader in C++ with AddressSanitizer and UBSan in it; None where it cannot be built here."""
    program, source = folder / "read_manifests", READERS / "read_manifests.cpp"
    headers = sorted((ROOT / "trainkit" / "deploy" / "cpp").glob("*.hpp"))
    if program.is_file() and all(program.stat().st_mtime > file.stat().st_mtime for file in (source, *headers)):
        return program
    if not shutil.which("c++"):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1", "-std=c++11"]
    command = ["c++", *sanitizers, f"-I{headers[0].parent}", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def open_readers(stack: ExitStack, folder: Path, say: Callable[[str], None]) -> dict[str, Read]:
    """Start every reader that can run here beside Python's; `say` is told which cannot."""
    readers: dict[str, Read] = {}
    if shutil.which("node"):
        readers["node"] = stack.enter_context(_process("node", READERS / "read_manifests.mjs"))
    if program := _build_cpp(folder):
        readers["cpp"] = stack.enter_context(_process(program))
    if shutil.which("chromium") and shutil.which("chromedriver"):
        readers["page"] = stack.enter_context(_page())
    for name in ("node", "cpp", "page"):
        if name not in readers:
            say(f"Left out: the reader {name}, for which something is missing here")
    return readers


def compare(manifests: list[bytes], readers: dict[str, Read]) -> Iterator[tuple[bytes, str, str]]:
    """Yield each manifest, Python's verdict, and what another reader says otherwise (empty: nothing)."""
    expected = read_with_python(manifests)
    others = {name: read(manifests) for name, read in readers.items()}
    for number, (data, sentence) in enumerate(zip(manifests, expected, strict=True)):
        wrong = [
            f"{name}: {answers[number]}"
            for name, answers in others.items()
            if _without_reason(answers[number]) != _without_reason(sentence)
        ]
        verdict = "accepted" if sentence is None else "refused"
        yield data, verdict, "\n".join([f"python: {sentence}", *wrong]) if wrong else ""


def _without_reason(sentence: str | None) -> str | None:
    """Return a sentence without the manifest's name, and what a parser of JSON says in its own words."""
    if sentence is None:
        return None
    plain = sentence.removeprefix("manifest.json")
    return re.sub(r"(is not valid JSON in UTF-8) \(.*\)", r"\1", plain, flags=re.DOTALL)

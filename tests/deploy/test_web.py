"""The page of a bundle, in a real browser."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conformance
import cv2
import decided
import numpy as np
import pytest
from drawings import nothing_drawn
from photographs import COLORS_BGR, draw_photo
from PIL import Image
from strange_models import write_caffe_model
from tools import do_without

import trainkit
from trainkit.bundles._clients import copy_clients
from trainkit.deploy import Classifier
from trainkit.deploy.python._media import read_image

WEB = Path(trainkit.__file__).parent / "deploy" / "web"
VERSIONS = ("4.12.0", "5.0.0")  # of opencv.js
HOSTILE = ['café "x"', "<img src=x onerror=alert(1)>"]
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    "--disable-dev-shm-usage",  # 64 MB in a container
    *("--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP plain.test 127.0.0.1"),
)

selenium = pytest.importorskip("selenium", reason="selenium drives the browser")
for needed in ("chromium", "chromedriver", "npm"):
    if shutil.which(needed) is None:
        do_without("web", f"{needed} is not installed; the page is tested in a real browser")


@pytest.fixture(scope="module")
def opencv_js(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """opencv.js by version, as `npm install` puts it beside the page."""
    found = {}
    for version in VERSIONS:
        folder = tmp_path_factory.mktemp("npm")
        package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
        package["dependencies"]["@techstark/opencv-js"] = f"{version}-release.1"
        (folder / "package.json").write_text(json.dumps(package), encoding="utf-8")
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if "network" in done.stderr:
            do_without("web", "npm reaches no registry, and @techstark/opencv-js is not in its cache")
        assert done.returncode == 0, done.stderr
        found[version] = folder / "opencv.js"
    return found


@dataclass(frozen=True)
class Site:
    """A folder that is served, with a bundle in each folder of it."""

    folder: Path
    port: int
    opencv_js: dict[str, Path]

    def add(self, bundle: Path, version: str | None = "5.0.0") -> str:
        """Serve a copy of a bundle with its page; return its name."""
        name = f"{bundle.name}-{len(list(self.folder.iterdir()))}"
        shutil.copytree(bundle, self.folder / name)
        copy_clients(self.folder / name, ["web"])
        if version is not None:
            (self.folder / name / "web" / "opencv.js").symlink_to(self.opencv_js[version])
        return name

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{name}/web/"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, opencv_js: dict[str, Path]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Site(folder, server.server_port, opencv_js)
    server.shutdown()
    server.server_close()
    thread.join()


class Page:
    """A browser on a page."""

    def __init__(self, *flags: str) -> None:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        options = ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*FLAGS, *flags):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
        self.driver.set_script_timeout(120)

    def open(self, url: str, *, tested: bool = True) -> Page:
        """Open a page, and wait until the self-test has ended, or the page has given up."""
        self.console()  # what another page left in it
        self.driver.get(url)
        if tested:
            self.wait(lambda: self.state() != "working")
        return self

    def wait(self, holds: Callable[[], Any], seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, f"it does not happen; the page says {self.alert()!r}, {self.console()}"
            time.sleep(0.02)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, element: str) -> str:
        return str(self.run("return document.getElementById(arguments[0]).textContent", element))

    def state(self) -> str:
        return str(self.run("return document.getElementById('badge').dataset.state"))

    def alert(self) -> str:
        return self.text("alert")

    def answers(self) -> list[tuple[str, float]]:
        rows = self.run(
            "return [...document.querySelectorAll('#found li')].map("
            "(row) => [row.querySelector('.label').textContent, Number(row.querySelector('data').value)])"
        )
        return [(label, probability) for label, probability in rows]

    def answer(self, name: str) -> list[tuple[str, float]]:
        """Wait for the answer to a file of this name."""
        self.wait(
            lambda: self.text("spoken").startswith(f"{name}:") and not self.run("return document.body.matches('.busy')")
        )
        return self.answers()

    def press(self, key: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def allow_camera(self, setting: str) -> None:
        permission = {"permission": {"name": "camera"}, "setting": setting}
        self.driver.execute_cdp_cmd("Browser.setPermission", permission)

    def choose(self, path: Path) -> None:
        self.driver.find_element("id", "file").send_keys(str(path))

    def drop(self, *paths: Path) -> None:
        """Drop files as the mouse does."""
        box = self.run(
            "const {x, y} = document.getElementById('stage').getBoundingClientRect(); return [x + 40, y + 40]"
        )
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            event = {"type": kind, "x": box[0], "y": box[1], "data": data}
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", event)

    def paste(self, path: Path) -> None:
        script = """
            const bytes = Uint8Array.from(atob(arguments[1]), (letter) => letter.charCodeAt(0));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([bytes], arguments[0], {type: 'image/png'}));
            document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true}));
        """
        self.run(script, path.name, base64.b64encode(path.read_bytes()).decode())

    def seen(self) -> np.ndarray:
        """What the network sees, uint8 (height, width, 3), BGR."""
        script = """
            const {width, height} = document.getElementById('seen');
            const copy = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
            copy.drawImage(document.getElementById('seen'), 0, 0);
            return [height, width, Array.from(copy.getImageData(0, 0, width, height).data)];
        """
        height, width, values = self.run(script)
        return np.array(values, np.uint8).reshape(height, width, 4)[..., 2::-1]

    def console(self) -> list[str]:
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    page = Page()
    yield page
    page.driver.quit()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The digits after one epoch, in both formats: grey, ten classes, a softmax."""
    folder = tmp_path_factory.mktemp("digits")
    with nothing_drawn():
        run = trainkit.train("digits", epochs=1, experiments=folder / "experiments")
    places = {"experiments": folder / "experiments", "exported": folder / "exported"}
    formats = ("onnx", "frozen-graph")
    return {format: trainkit.export(run, format=format, name=f"digits-{format}", **places).path for format in formats}


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes and so a sigmoid, names that a page must not believe, and images that are padded."""
    folder = tmp_path_factory.mktemp("two")
    for seed, (name, color) in enumerate(zip(HOSTILE, COLORS_BGR.values(), strict=False)):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(14):
            image = draw_photo(50 * seed + number, color, 50 + number, 70)
            cv2.imwrite(str(folder / "photos" / name / f"{seed}-{number}.jpg"), image)
    experiments = folder / "experiments"
    with nothing_drawn():
        run = trainkit.train(folder / "photos", size=(36, 24), resize="pad", epochs=2, experiments=experiments)
    return trainkit.export(run, experiments=folder / "experiments", exported=folder / "exported", name="two").path


def edited(bundle: Path, folder: Path, **sections: Any) -> Path:
    """Return a copy of a bundle with values of its manifest changed; `None` takes a key out."""
    copy = Path(shutil.copytree(bundle, folder / "bundle"))
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name, values in sections.items():
        if isinstance(values, dict):
            values = {**manifest.get(name, {}), **values}
            values = {key: value for key, value in values.items() if value is not None}
        manifest[name] = values
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return copy


def save(path: Path, image: np.ndarray) -> Path:
    cv2.imwrite(str(path), image)
    return path


def assert_same(answers: list[tuple[str, float]], bundle: Path, path: Path) -> None:
    """The page's answer is that of Python."""
    expected = Classifier(bundle).predict(read_image(path))
    assert [label for label, _ in answers] == [label for label, _ in expected]
    assert [value for _, value in answers] == pytest.approx([value for _, value in expected], abs=1e-5)


def drop_choose_paste(page: Page, bundle: Path, folder: Path, images: list[np.ndarray]) -> None:
    """Give the page a picture in each way there is; each time it answers as Python does."""
    for give, name, image in zip(
        (page.drop, page.choose, page.paste), ("dropped.png", "chosen.png", "pasted.png"), images, strict=True
    ):
        path = save(folder / name, image)
        give(path)
        assert_same(page.answer(name), bundle, path)
    assert page.text("time").endswith(" ms")
    assert page.alert() == ""
    assert page.console() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_photograph_gets_the_answer_of_python(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path, street_image: np.ndarray, version: str
) -> None:
    page.open(site.url(site.add(tiny_bundle, version)))
    line = page.text("line")
    assert page.state() == "agreed", line + page.alert()
    assert line.startswith(f"OpenCV {version}: the same answers as Keras. 8 of 8 labels, 8 of 8 inputs equal, largest ")
    assert re.search(r"difference [0-9]\.[0-9]e-[0-9]{2}, 8 of 8 originals equal\. Model file: sha256 checked\.$", line)
    drop_choose_paste(
        page, tiny_bundle, tmp_path, [street_image, *(draw_photo(1, COLORS_BGR[c]) for c in ("red", "blue"))]
    )


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("model_format", ["onnx", "frozen-graph"])
def test_digits_get_the_answer_of_python(
    page: Page, site: Site, digits: dict[str, Path], tmp_path: Path, model_format: str, version: str
) -> None:
    bundle = digits[model_format]
    page.open(site.url(site.add(bundle, version)))
    assert page.state() == "agreed", page.text("line") + page.alert()
    engine = ", classic engine" if (version, model_format) == ("5.0.0", "frozen-graph") else ""
    assert page.text("line").startswith(f"OpenCV {version}{engine}: the same answers as Keras. 8 of 8 labels, 8 of 8 ")
    drop_choose_paste(page, bundle, tmp_path, [cv2.imread(str(bundle / "selftest" / f"{n}.png")) for n in (1, 2, 3)])


def test_why_lays_heat_over_the_picture_and_takes_it_away(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path
) -> None:
    picture = save(tmp_path / "photo.png", draw_photo(7, COLORS_BGR["blue"]))
    page.open(site.url(site.add(tiny_bundle, "5.0.0")))
    page.choose(picture)
    page.answer(picture.name)
    before = page.seen()
    page.run("document.getElementById('why').click()")
    page.wait(lambda: page.text("why") == "Take the heat away")
    assert page.alert() == ""
    seen = page.seen()
    assert not np.array_equal(seen, before)
    heat = (seen.max(axis=2).astype(int) - seen.min(axis=2)).astype(np.float32)  # the picture itself is grey
    expected = trainkit.explain(tiny_bundle, before).map
    assert np.corrcoef(heat.ravel(), np.sqrt(np.maximum(expected, 0)).ravel())[0, 1] > 0.7
    page.run("document.getElementById('why').click()")
    assert page.text("why") == "Why?"
    assert np.array_equal(page.seen(), before)


@pytest.mark.slow
def test_two_classes_with_hostile_names_and_padding(page: Page, site: Site, two_classes: Path, tmp_path: Path) -> None:
    page.open(site.url(site.add(two_classes)))
    assert page.state() == "agreed", page.text("line") + page.alert()
    tall = draw_photo(3, COLORS_BGR["blue"], 90, 41)
    drop_choose_paste(page, two_classes, tmp_path, [draw_photo(4, COLORS_BGR["green"]), draw_photo(5, (9, 9, 9)), tall])
    assert sorted(label for label, _ in page.answers()) == sorted(HOSTILE)
    assert page.run("return document.querySelectorAll('#found img').length") == 0
    classifier = Classifier(two_classes)
    blob = dict(classifier._blob_arguments(), scalefactor=1.0, mean=(0, 0, 0, 0), swapRB=False)
    expected = cv2.dnn.blobFromImage(classifier.prepare(tall), **blob)[0].transpose(1, 2, 0)
    assert np.array_equal(page.seen(), expected)


@pytest.mark.parametrize("name", decided.NAMES)
def test_what_the_manifest_decides_is_shown(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path, name: str
) -> None:
    images = decided.write_images(tmp_path / "images")
    bundle = decided.decide(tiny_bundle, tmp_path, images, name)
    lines, _ = decided.words_of_python(bundle, images)
    decided.assert_decides(lines, name)
    page.open(site.url(site.add(bundle)))
    shown = []
    for path in images:
        page.choose(path)
        found = ", ".join(f"{label} #" for label, _ in page.answer(path.name))
        shown.append(f"{path}: {found or page.text('nothing')}")
    assert shown == lines
    assert page.console() == []


def test_picture_unlike_the_training_images_is_warned_of_until_it_is_inverted(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = decided.learn_brightness(tiny_bundle, tmp_path)
    pictures = decided.write_light_and_dark(tmp_path / "pictures")
    page.open(site.url(site.add(bundle)))
    page.choose(pictures["usual"])
    usual = page.answer("usual.png")
    assert page.text("warning") == ""
    page.choose(pictures["inverted"])
    assert page.answer("inverted.png") != usual
    _, (said,) = decided.words_of_python(bundle, [pictures["inverted"]])
    expected = said.split(": ", 1)[1].replace("try --invert", "tick Invert")
    assert page.text("warning") == expected[0].upper() + expected[1:]
    page.driver.find_element("id", "invert").click()
    page.wait(lambda: page.text("warning") == "")
    assert page.answer("inverted.png") == usual
    page.choose(pictures["usual"])
    page.answer("usual.png")
    assert page.text("warning").endswith("As it is it would fit better: untick Invert.")
    assert page.console() == []


@pytest.mark.parametrize("extra", [{"name": None}, {"name": 7}, {"name": ""}])
def test_page_of_a_bundle_without_a_name_says_where_it_came_from(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path, extra: dict[str, Any]
) -> None:
    copy = edited(tiny_bundle, tmp_path, extra=extra, source={"run": "20260101-000000-colours"})
    page.open(site.url(site.add(copy)))
    assert page.state() == "agreed", page.text("line") + page.alert()
    assert page.text("about").startswith("colours · 3 classes")
    assert page.run("return document.title") == "colours: What is in the picture?"


def test_page_shows_what_a_browser_would_obey_written_out(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path
) -> None:
    names = ["bl\u202eue", "\u2066green", "red\u200f"]
    copy = edited(tiny_bundle, tmp_path, output={"class_names": names}, extra={"name": "a\u202e"})
    path = copy / "selftest" / "selftest.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for case in document["images"]:
        case["label"] = names[["blue", "green", "red"].index(case["label"])]
    path.write_text(json.dumps(document), encoding="utf-8")
    page.open(site.url(site.add(copy)))
    assert page.state() == "agreed", page.text("line") + page.alert()
    picture = tmp_path / "a\u202egnp.png"
    picture.write_bytes((copy / "selftest" / "1.png").read_bytes())
    page.choose(picture)
    found = page.answer(r"a\u202egnp.png")
    assert sorted(label for label, _ in found) == [r"\u2066green", r"bl\u202eue", r"red\u200f"]
    assert page.text("about").startswith(r"a\u202e · 3 classes")
    assert page.run("return document.title") == r"a\u202e: What is in the picture?"
    attributes = "[...document.querySelectorAll('[title], [alt]')].map(({title, alt}) => title + alt).join()"
    shown = page.run(f"return document.body.textContent + {attributes}")
    assert r"bl\u202eue" in shown
    assert not re.search("[\u202e\u2066\u200f]", shown)


def translucent(channels: int) -> np.ndarray:
    """Noise behind every degree of transparency, none and all included."""
    image = np.random.default_rng(channels).integers(0, 256, (40, 60, channels), np.uint8)
    image[..., 3] = np.linspace(0, 255, 60)
    return image


def write_pictures(folder: Path) -> list[Path]:
    """Write files of every kind whose pixels a browser could see differently."""
    noise = np.random.default_rng(0).integers(0, 256, (41, 60, 3), np.uint8)
    smooth = cv2.resize(noise, (301, 203), interpolation=cv2.INTER_CUBIC)
    paths = [save(folder / "rgb.png", noise), save(folder / "alpha.png", translucent(4))]
    paths += [save(folder / "deep.png", noise.astype(np.uint16) * 257 + 100), save(folder / "gray.png", noise[..., 0])]
    Image.fromarray(translucent(4), "RGBA").quantize(64).save(folder / "palette.png")
    for orientation in (1, 3, 6, 8):
        exif = Image.Exif()
        exif[0x112] = orientation
        Image.fromarray(smooth).save(folder / f"turned{orientation}.jpg", exif=exif, quality=90)
    Image.fromarray(smooth).save(folder / "progressive.jpg", progressive=True, subsampling=0)
    Image.fromarray(smooth).convert("L").save(folder / "gray.jpg")
    save(folder / "strips.png", cv2.resize(smooth, (3001, 2999)))  # more than the page reads at once
    return sorted(folder.iterdir())


def test_pixels_are_those_of_imread(page: Page, site: Site, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    page.open(site.url(site.add(tiny_bundle)), tested=False)  # what is dropped early is answered when all is there
    for path in write_pictures(tmp_path / "pictures"):
        page.choose(path)
        page.answer(path.name)
        expected = cv2.resize(cv2.imread(str(path)), (32, 24))
        assert np.array_equal(page.seen(), expected), path.name
    assert page.console() == []


def test_picture_of_the_selftest_is_classified_by_keyboard(page: Page, site: Site, tiny_bundle: Path) -> None:
    page.open(site.url(site.add(tiny_bundle)))
    reached = []
    for _ in range(4):
        page.press("\ue004")
        reached.append(page.run("const e = document.activeElement; return e.id || e.parentElement.id"))
    assert reached == ["file", "camera", "invert", "examples"]
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("\ue007")
    assert_same(page.answer("1.png"), tiny_bundle, tiny_bundle / "selftest" / "1.png")


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_fits_and_follows_the_theme(page: Page, site: Site, tiny_bundle: Path, width: int, theme: str) -> None:
    name = site.add(tiny_bundle)
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    try:
        page.open(site.url(name), tested=False)
        assert page.run("return document.documentElement.scrollWidth") <= width
        brightness = page.run("return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert (sum(brightness) > 600) == (theme == "light")
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def without_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()


def no_json(bundle: Path) -> None:
    (bundle / "manifest.json").write_text("<!doctype html>", encoding="utf-8")


REFUSED_BEFORE_OPENCV: list[tuple[dict[str, Any] | Callable[[Path], None], str]] = [
    (without_manifest, "No manifest at ../manifest.json. Expected the folder of a bundle, with manifest.json in it."),
    (no_json, "../manifest.json is not valid JSON in UTF-8 ("),
    (
        {"schema": "trainkit/3"},
        "../manifest.json: this client reads the schemas trainkit/1 and trainkit/2. Received: 'trainkit/3'. "
        "Take a newer client.",
    ),
    (
        {"output": {"kind": "ssd"}},
        "The manifest describes a detector (`output.kind` is ssd). This page classifies only. Use classify.py.",
    ),
    (
        {"blob": {"size": None}},
        "../manifest.json: `blob` needs the key `size`. Add it, or export the bundle again.",
    ),
    (
        {"blob": {"size": [32, 16385]}},
        "../manifest.json: `blob.size` must be [width, height], each 1 to 16384 pixels. Received: [32, 16385]",
    ),
    (
        {"blob": {"mean": "mean.npy"}},
        "../manifest.json: `blob.mean` names a file, which the Python client alone reads. Use classify.py.",
    ),
    (
        {"model": {"file": "../model.onnx"}},
        "../manifest.json: `model.file` must be the plain name of a file in the same folder. Received: '../model.onnx'",
    ),
    (
        {"model": {"format": "caffe"}},
        "../manifest.json: a Caffe model needs the key `model.graph`, the name of its .prototxt. Add it.",
    ),
    (
        {"before_blob": [{"step": "blur"}]},
        "../manifest.json: `before_blob` knows the steps pad and gray. Received: 'blur'",
    ),
    (
        {"before_blob": [{"step": "gray"}, {"step": "gray"}]},
        "../manifest.json: `before_blob` has each step once, pad before gray. Received: ['gray', 'gray']",
    ),
    (
        {"before_blob": [{"step": "pad"}]},
        "../manifest.json: `before_blob: pad` needs the key `color_bgr`. Add it, or export the bundle again.",
    ),
    (
        {"output": {"class_names": ["one", "one", "two"]}},
        "../manifest.json: `output.class_names` must be a list of 1 to 1000000 different texts, each of 1 to 3999",
    ),
    (
        {"output": {"class_names": "names.txt"}},
        "../names.txt is missing: the manifest names it as the class names. Copy it there.",
    ),
    (
        {"output": {"min_confidence": 0.5}},
        "../manifest.json: an output of the kind softmax has no `output.min_confidence`. Take it out.",
    ),
]


def without_model(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()


def shorter(bundle: Path) -> None:
    data = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(data[:-1])


def changed(bundle: Path) -> None:
    data = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def no_model(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"no network")
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["model"].update(bytes=10, sha256=hashlib.sha256(b"no network").hexdigest())
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


REFUSED_AFTER_OPENCV: list[tuple[dict[str, Any] | Callable[[Path], None], str]] = [
    ({"opencv": {"minimum": "5.1"}}, "This bundle needs OpenCV 5.1 or later. Received: 5.0.0. Upgrade OpenCV."),
    (without_model, "../model.onnx is missing: the manifest names it as the model. Copy it there."),
    (shorter, " bytes; the manifest says "),
    (changed, "../model.onnx does not match the sha256 in the manifest: it was changed. Copy the bundle again."),
    (no_model, "../model.onnx is no ONNX file ("),
    (
        {"model": {"bytes": 2**31 - 1}},
        "../model.onnx is too large for the memory of a web page. Use classify.py, or a smaller network.",
    ),
]


def refusal(page: Page, site: Site, bundle: Path, folder: Path, wrong: Any, version: str | None) -> str:
    """Open a bundle in which something is wrong; return what the page says, where it says it well."""
    copy = edited(bundle, folder, **(wrong if isinstance(wrong, dict) else {}))
    if not isinstance(wrong, dict):
        wrong(copy)
    page.open(site.url(site.add(copy, version)))
    assert (page.state(), page.text("badge-text")) == ("failed", "Not running")
    assert page.driver.find_element("id", "alert").is_displayed()
    assert not page.driver.find_element("id", "camera").is_enabled()
    return page.alert()


@pytest.mark.parametrize(("wrong", "sentence"), REFUSED_BEFORE_OPENCV)
def test_manifest_is_refused_in_a_sentence(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path, wrong: Any, sentence: str
) -> None:
    assert refusal(page, site, tiny_bundle, tmp_path, wrong, None).startswith(sentence)


GRAPHS = Path(__file__).parents[2] / "trainkit" / "deploy" / "spec" / "graphs.json"
# A worker that does what worker.js does with a manifest, for many of them.
CONFORM = """
importScripts("schema.js");
const toBytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const messageOf = (text) => {
  try {
    contract.parseManifest(toBytes(text), "../manifest.json");
    return null;
  } catch (error) {
    return error instanceof contract.BundleError ? error.message : String(error.stack);
  }
};
self.onmessage = ({ data }) => self.postMessage(data.map(messageOf));
"""


CHECK_GRAPHS = """
importScripts("schema.js", "graph.js");
const toBytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const messageOf = (text) => {
  try {
    graphs.checkOnnx(toBytes(text), "FILE");
    return null;
  } catch (error) {
    return error instanceof contract.BundleError ? error.message : String(error.stack);
  }
};
self.onmessage = ({ data }) => self.postMessage(data.map(messageOf));
"""


def test_graphs_of_the_corpus_get_their_sentences(page: Page, site: Site, tiny_bundle: Path) -> None:
    name = site.add(tiny_bundle, None)
    (site.folder / name / "web" / "check.js").write_text(CHECK_GRAPHS, encoding="utf-8")
    page.open(site.url(name))
    cases = json.loads(GRAPHS.read_text(encoding="utf-8"))["cases"]
    script = """
        const worker = new Worker("check.js");
        worker.onmessage = ({data}) => arguments[1](data);
        worker.onerror = ({message}) => arguments[1](message);
        worker.postMessage(arguments[0]);
    """
    messages = page.driver.execute_async_script(script, [case["base64"] for case in cases])
    assert len(messages) == len(cases) >= 200
    said = [message and message.removeprefix("FILE ") for message in messages]
    assert said == [case["sentence"] for case in cases]


def test_conformance_cases_get_their_verdicts_and_sentences(page: Page, site: Site, tiny_bundle: Path) -> None:
    name = site.add(tiny_bundle, None)
    (site.folder / name / "web" / "conform.js").write_text(CONFORM, encoding="utf-8")
    page.open(site.url(name))
    cases = conformance.read_cases()
    script = """
        const worker = new Worker("conform.js");
        worker.onmessage = ({data}) => arguments[1](data);
        worker.onerror = ({message}) => arguments[1](message);
        worker.postMessage(arguments[0]);
    """
    texts = [base64.b64encode(case["bytes"]).decode() for case in cases]
    messages = page.driver.execute_async_script(script, texts)
    assert len(messages) == conformance.COUNT, messages
    pairs = zip(cases, messages, strict=True)
    wrong = {case["name"]: said for case, said in pairs if not conformance.agrees(case, said, "../manifest.json")}
    assert wrong == {}


def test_manifest_changed_within_a_second_is_read_anew(page: Page, site: Site, tiny_bundle: Path) -> None:
    name = site.add(tiny_bundle, None)
    manifest = site.folder / name / "manifest.json"
    for schema in ("trainkit/3", "trainkit/4"):
        manifest.write_text(json.dumps({"schema": schema}), encoding="utf-8")
        os.utime(manifest, (1e9, 1e9))  # the server tells whole seconds only
        page.open(site.url(name))
        assert f"Received: '{schema}'." in page.alert()


@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "sentence"), REFUSED_AFTER_OPENCV)
def test_model_is_refused_in_a_sentence(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path, wrong: Any, sentence: str
) -> None:
    assert sentence in refusal(page, site, tiny_bundle, tmp_path, wrong, "5.0.0")


def test_missing_opencv_is_a_sentence(page: Page, site: Site, tiny_bundle: Path, tmp_path: Path) -> None:
    said = refusal(page, site, tiny_bundle, tmp_path, {}, None)
    assert said == "opencv.js is missing beside this page. Run npm install in the folder web."


@pytest.mark.parametrize("script", ["<!doctype html>", "self.cv = 'something else'"])
def test_other_script_than_opencv_is_a_sentence(page: Page, site: Site, tiny_bundle: Path, script: str) -> None:
    name = site.add(tiny_bundle, None)
    (site.folder / name / "web" / "opencv.js").write_text(script, encoding="utf-8")
    page.open(site.url(name))
    assert page.alert().startswith("opencv.js cannot be started (")
    assert page.alert().endswith("). Run npm install in the folder web again.")


@pytest.mark.parametrize(
    "script",
    ["worker.js", "brightness.js", "schema.js", "graph.js", "manifest.js", "network.js", "pictures.js", "occlusion.js"],
)
def test_missing_script_is_a_sentence(page: Page, site: Site, tiny_bundle: Path, script: str) -> None:
    name = site.add(tiny_bundle, None)
    (site.folder / name / "web" / script).unlink()
    page.open(site.url(name))
    assert page.alert() == "A script is missing beside this page. Copy the folder web again."


def test_worker_that_the_browser_cannot_read_is_a_sentence(page: Page, site: Site, tiny_bundle: Path) -> None:
    name = site.add(tiny_bundle, None)
    (site.folder / name / "web" / "worker.js").write_text("no language", encoding="utf-8")
    page.open(site.url(name))
    assert page.alert().startswith("This browser cannot run the page (Uncaught SyntaxError: ")
    assert page.alert().endswith("). Take a newer one.")


def test_page_itself_holds_no_opencv(page: Page, site: Site, tiny_bundle: Path) -> None:
    page.open(site.url(site.add(tiny_bundle)))
    assert page.state() == "agreed", page.text("line") + page.alert()
    assert page.run("return [typeof cv, typeof network, typeof importScripts]") == ["undefined"] * 3
    scripts = page.run("return [...document.scripts].map((script) => script.getAttribute('src'))")
    assert scripts == ["page.js", "why.js"]


def test_opened_as_a_file_is_a_sentence(page: Page, site: Site, tiny_bundle: Path) -> None:
    page.open((site.folder / site.add(tiny_bundle) / "web" / "index.html").as_uri())
    assert page.alert().startswith("This page needs a web server. Run python -m http.server in the bundle's folder")


def test_file_that_is_no_picture_is_a_sentence(page: Page, site: Site, tiny_bundle: Path, tmp_path: Path) -> None:
    page.open(site.url(site.add(tiny_bundle)))
    notes = tmp_path / "notes <b>.txt"
    notes.write_text("no picture", encoding="utf-8")
    page.drop(notes)
    page.wait(page.alert)
    assert page.alert() == "OpenCV cannot read notes <b>.txt as an image. Convert it to JPEG or PNG."
    page.run(
        "document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: new DataTransfer(), bubbles: true}))"
    )
    assert page.alert() == "That is no file. Drop, choose or paste a photograph."
    page.drop(save(tmp_path / "photo.png", draw_photo(1, COLORS_BGR["red"])))
    assert page.answer("photo.png")[0][0] == "red"
    assert page.alert() == ""


def test_other_answers_turn_the_badge_red(page: Page, site: Site, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = edited(tiny_bundle, tmp_path)
    path = bundle / "selftest" / "selftest.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["images"][1]["probabilities"][0] += 0.01
    path.write_text(json.dumps(document), encoding="utf-8")
    page.open(site.url(site.add(bundle)))
    assert page.state() == "failed"
    assert page.text("line").startswith(
        "OpenCV 5.0.0: NOT the answers that Keras gave. 8 of 8 labels, 8 of 8 inputs equal"
    )
    assert "largest difference 1.0e-02" in page.text("line")
    assert page.driver.find_element("id", "camera").is_enabled()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "state", "sentence"),
    [
        (
            shutil.rmtree,
            "untested",
            "There is no ../selftest. It holds photographs, and may have been taken out for that reason.",
        ),
        (
            lambda folder: (folder / "selftest.json").write_text('{"images": [], "tolerance": 0.1}', encoding="utf-8"),
            "failed",
            "../selftest holds no self-test that can be read (`tolerance` must be above 0, at most 0.001). Copy the",
        ),
        (
            lambda folder: (folder / "selftest.json").write_text('{"images": [{"png": "../1.png"}]}', encoding="utf-8"),
            "failed",
            "../selftest holds no self-test that can be read (it needs a file, a label, a checksum and a probability",
        ),
        (lambda folder: (folder / "2.png").unlink(), "failed", "No such image: ../selftest/2.png"),
    ],
)
def test_selftest_that_cannot_be_run_is_a_sentence(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path, damage: Any, state: str, sentence: str
) -> None:
    bundle = edited(tiny_bundle, tmp_path)
    damage(bundle / "selftest")
    page.open(site.url(site.add(bundle)))
    assert page.state() == state
    assert page.text("line").startswith(sentence)
    page.drop(save(tmp_path / "photo.png", draw_photo(1, COLORS_BGR["red"])))
    assert page.answer("photo.png")[0][0] == "red"


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"blob": {"size": [16384, 16384]}},
            "OpenCV cannot make a blob of this image (error: (-4:Insufficient memory)",
        ),
        ({"blob": {"size": [3, 3]}}, "cannot run the model ("),
        (
            {"before_blob": [{"step": "pad", "color_bgr": [0, 0, 0]}], "blob": {"size": [16384, 1]}},
            "An image of 80x16385 padded to 16384:1 has more than 268435456 pixels. Cut it.",
        ),
        (
            {"output": {"class_names": ["a", "b"]}},
            "The model's output has 3 numbers; the manifest's class names need 2.",
        ),
    ],
)
def test_image_that_cannot_be_answered_is_a_sentence(
    page: Page, site: Site, tiny_bundle: Path, tmp_path: Path, changes: Any, sentence: str, version: str
) -> None:
    bundle = edited(tiny_bundle, tmp_path, **changes)
    shutil.rmtree(bundle / "selftest")
    page.open(site.url(site.add(bundle, version)))
    tall = "16385" in sentence
    page.choose(save(tmp_path / "photo.png", draw_photo(1, COLORS_BGR["red"], 16385 if tall else 60)))
    page.wait(page.alert)
    assert sentence in page.alert()


@pytest.mark.slow
def test_plain_http_checks_the_size_only(page: Page, site: Site, tiny_bundle: Path, tmp_path: Path) -> None:
    page.open(site.url(site.add(tiny_bundle), host="plain.test"))
    assert page.state() == "agreed", page.text("line") + page.alert()
    assert "inputs" not in page.text("line")
    assert page.text("line").endswith("Model file: size checked.")
    page.driver.find_element("id", "camera").click()
    assert page.alert() == "The browser gives the camera to https and localhost only. Serve the page so."
    bare = edited(tiny_bundle, tmp_path, model={"bytes": None, "sha256": None})
    page.open(site.url(site.add(bare)))
    assert page.text("line").endswith("Model file: not checked, the manifest says neither size nor sha256.")


@pytest.mark.slow
def test_logits_and_class_names_from_a_file(page: Page, site: Site, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = edited(tiny_bundle, tmp_path, output={"kind": "logits", "class_names": "names & more.txt"})
    shutil.rmtree(bundle / "selftest")
    names = "n01 blue, or so\nn02 green\nn03 red\n"
    (bundle / "names & more.txt").write_text(names, encoding="utf-8")
    page.open(site.url(site.add(bundle)))
    photo = save(tmp_path / "photo.png", draw_photo(1, COLORS_BGR["blue"]))
    page.drop(photo)
    assert_same(page.answer("photo.png"), bundle, photo)
    assert page.answers()[0][0] == "blue, or so"
    each = edited(tiny_bundle, tmp_path / "each", output={"kind": "logits", "multi_label": True})
    shutil.rmtree(each / "selftest")
    page.open(site.url(site.add(each)))
    page.drop(photo)
    assert_same(page.answer("photo.png"), each, photo)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_caffe_model_where_opencv_reads_it(
    page: Page, site: Site, tmp_path: Path, street_image: np.ndarray, version: str
) -> None:
    kernel = np.random.default_rng(3).normal(0, 0.002, (3, 3 * 8 * 12)).astype(np.float32)
    bundle = tmp_path / "caffe"
    write_caffe_model(bundle, kernel, np.array([0.1, 0, -0.2], np.float32), width=12, height=8)
    manifest = {
        "schema": "trainkit/1",
        "model": {"file": "net.caffemodel", "format": "caffe", "graph": "net.prototxt"},
        "blob": {"scalefactor": 1, "size": [12, 8], "mean": [104.5, 117, 123], "swapRB": False, "crop": True},
        "output": {"kind": "softmax", "class_names": ["one", "two", "three"]},
    }
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    page.open(site.url(site.add(bundle, version)))
    page.choose(save(tmp_path / "photo.png", street_image))
    if version == "5.0.0":
        assert page.alert() == (
            "OpenCV 5.0.0 reads no Caffe models any more. Take an OpenCV before 5.0, or convert the model to ONNX."
        )
        return
    found = dict(page.answer("photo.png"))
    blob = cv2.dnn.blobFromImage(street_image, 1, (12, 8), (104.5, 117, 123, 0), False, True)
    powers = np.exp(kernel @ blob.ravel() + [0.1, 0, -0.2])
    assert [found[name] for name in manifest["output"]["class_names"]] == pytest.approx(powers / powers.sum(), abs=1e-5)


@pytest.mark.slow
def test_camera_is_denied_then_watched_until_it_is_stopped(site: Site, tiny_bundle: Path) -> None:
    page = Page("--use-fake-device-for-media-stream")
    try:
        page.open(site.url(site.add(tiny_bundle)))
        camera = page.driver.find_element("id", "camera")
        page.allow_camera("denied")
        camera.click()
        page.wait(page.alert)
        assert page.alert() == "The camera was denied. Allow it for this page in the browser's settings."
        page.allow_camera("granted")
        camera.click()
        page.run("self.seenFrames = 0; new MutationObserver(() => (seenFrames += 1)).observe(found, {childList: true})")
        page.wait(lambda: page.run("return seenFrames") >= 5)
        assert camera.text == "Stop the camera"
        assert page.driver.find_element("id", "video").is_displayed()
        assert page.seen().std() > 10
        camera.click()
        assert camera.text == "Use the camera"
        assert not page.driver.find_element("id", "video").is_displayed()
        assert page.run("return document.getElementById('video').srcObject") is None
        assert page.console() == []
    finally:
        page.driver.quit()


@pytest.mark.slow
def test_missing_camera_is_a_sentence(page: Page, site: Site, tiny_bundle: Path) -> None:
    page.open(site.url(site.add(tiny_bundle)))
    page.driver.find_element("id", "camera").click()
    page.wait(page.alert)
    assert page.alert() == "There is no camera. Connect one, or choose a photograph."
    assert page.driver.find_element("id", "camera").text == "Use the camera"


@pytest.mark.slow
def test_page_passes_the_rules_of_axe(page: Page, site: Site, tiny_bundle: Path, tmp_path: Path) -> None:
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "axe-core@4"]
    if subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0:
        do_without("web", "npm cannot install axe-core")
    axe = (tmp_path / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    page.open(site.url(site.add(tiny_bundle)))
    for theme in ("light", "dark"):
        scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        for step in ("empty", "answered", "refused"):
            if step == "answered":
                page.drop(save(tmp_path / f"{theme}.png", draw_photo(1, COLORS_BGR["red"])))
                page.answer(f"{theme}.png")
            if step == "refused":
                page.drop(tmp_path / "package.json")
                page.wait(page.alert)
            page.run(axe)
            found = page.driver.execute_async_script("axe.run().then(arguments[0])")["violations"]
            assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == [], (theme, step)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

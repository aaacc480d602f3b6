from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

import trainkit
from trainkit.cli import app
from trainkit.errors import DataError, OutputError, UsageError
from trainkit.lessons._convolution import KERNELS, PADDINGS, convolve, convolve_by_loop, read_kernel
from trainkit.lessons._kernel_pictures import draw_convolutions

BORDERS = {"zero": cv2.BORDER_CONSTANT, "replicate": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT_101}
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.integers(0, 256, (33, 27, 3), np.uint8)  # the hardest there is: every sum is another
IMAGES = {"gray": NOISE[..., 0].copy(), "color": NOISE}


def reference(image: np.ndarray, kernel: np.ndarray, padding: str) -> np.ndarray:
    """Return what OpenCV makes of it, or SciPy of what OpenCV has no border for."""
    if padding in BORDERS:
        return np.asarray(cv2.filter2D(image, -1, kernel, borderType=BORDERS[padding]))
    weights = kernel if image.ndim == 2 else kernel[..., None]
    sums = scipy.ndimage.correlate(image.astype(np.float64), weights, mode="wrap")
    return np.clip(np.rint(sums), 0, 255).astype(np.uint8) if image.dtype == np.uint8 else sums.astype(image.dtype)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_does_what_the_libraries_do(kernel: str, padding: str, image: str) -> None:
    found = convolve(IMAGES[image], kernel, padding)
    assert difference(found, reference(IMAGES[image], KERNELS[kernel], padding)) <= 1


@settings(max_examples=60, deadline=None)
@given(
    rows=st.sampled_from([1, 3, 5, 9]),
    columns=st.sampled_from([1, 3, 7]),
    seed=st.integers(0, 10**6),
    padding=st.sampled_from(PADDINGS),
    flip=st.booleans(),
)
def test_any_kernel_on_floating_numbers(rows: int, columns: int, seed: int, padding: str, flip: bool) -> None:
    drawn = np.random.default_rng(seed)
    image, kernel = drawn.normal(size=(19, 23)), drawn.normal(size=(rows, columns))
    kernel[drawn.random(kernel.shape) < 0.2] = 0
    turned = kernel[::-1, ::-1].copy() if flip else kernel
    assert difference(convolve(image, kernel, padding, flip), reference(image, turned, padding)) < 1e-12
    assert difference(convolve(image, kernel, padding, flip), convolve_by_loop(image, kernel, padding, flip)) < 1e-12


@settings(max_examples=60, deadline=None)
@given(
    rows=st.sampled_from([1, 3, 5, 11, 25]),
    columns=st.sampled_from([1, 3, 7, 21]),
    rank=st.integers(0, 3),
    seed=st.integers(0, 10**6),
    padding=st.sampled_from(PADDINGS),
    image=st.sampled_from(sorted(IMAGES)),
)
def test_any_kernel_on_whole_numbers(rows: int, columns: int, rank: int, seed: int, padding: str, image: str) -> None:
    drawn = np.random.default_rng(seed)
    kernel = drawn.normal(size=(rows, rank)) @ drawn.normal(size=(rank, columns))  # as few products, or of rank 0
    assert difference(convolve(IMAGES[image], kernel, padding), reference(IMAGES[image], kernel, padding)) <= 1


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("kernel", ["sharpen", "sobel-x", "gaussian", "small-blur"])
def test_the_loop_gives_the_same_picture(kernel: str, image: str, padding: str) -> None:
    assert difference(convolve(IMAGES[image], kernel, padding), convolve_by_loop(IMAGES[image], kernel, padding)) == 0


def test_long_floats_are_not_summed_in_float32() -> None:
    image = np.array([[1, 1 + 1e-15, 1]], np.longdouble)
    assert convolve(image, np.array([[1.0]])).tolist() == image.tolist()


@pytest.mark.parametrize(("padding", "boundary"), [("zero", "fill"), ("wrap", "wrap")])
def test_flipped_it_is_the_convolution_of_mathematics(padding: str, boundary: str) -> None:
    kernel = RANDOM.normal(size=(5, 3))
    image = IMAGES["gray"].astype(np.float64)
    wanted = scipy.signal.convolve2d(image, kernel, mode="same", boundary=boundary)
    assert difference(convolve(image, kernel, padding, flip=True), wanted) < 1e-10
    assert difference(convolve(image, kernel, padding), wanted) > 10


def test_strips_meet_without_a_seam() -> None:
    image = np.asarray(cv2.resize(NOISE, (700, 600), interpolation=cv2.INTER_CUBIC))
    for kernel in ("large-blur", "laplacian"):
        assert difference(convolve(image, kernel), reference(image, KERNELS[kernel], "reflect")) <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_type_and_image_stay_as_they_are(dtype: type) -> None:
    image = IMAGES["color"].astype(dtype)
    before = image.copy()
    assert convolve(image, "sobel-x").dtype == dtype
    np.testing.assert_array_equal(image, before)
    assert (convolve(image, "sobel-x").min() < 0) == (dtype != np.uint8)


def test_large_sums_are_cut_off_and_halves_rounded_to_even() -> None:
    white = np.full((5, 5), 255, np.uint8)
    assert (convolve(white, np.full((3, 3), 10.0)) == 255).all()
    assert (convolve(white, np.full((3, 3), -1.0)) == 0).all()
    assert convolve(np.array([[1, 3, 5]], np.uint8), np.array([[0.5]])).tolist() == [[0, 2, 2]]


def test_kernel_as_large_as_the_image_is_none_too_large() -> None:
    kernel = RANDOM.normal(size=(5, 7))
    image = RANDOM.normal(size=(5, 7))
    for padding in PADDINGS:
        assert difference(convolve(image, kernel, padding), reference(image, kernel, padding)) < 1e-12


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.ones((2, 3)), "has 2 rows and 3 columns. Expected odd numbers"),
        (np.ones((3, 4)), "has 3 rows and 4 columns. Expected odd numbers"),
        (np.ones((0, 0)), "is empty.*Received: 0x0"),
        ([], "is empty.*Received: 0"),
        (np.ones((35, 3)), "of 3x35 is larger than the image of 27x33"),
        (np.ones((3, 29)), "of 29x3 is larger than the image of 27x33"),
        (np.ones(3), r"must be a table of numbers. Received: float64 \(3,\)"),
        (np.ones((3, 3, 3)), r"must be a table of numbers. Received: float64 \(3, 3, 3\)"),
        ([[1, 2, 3], [1]], "rows are not all of one length"),
        (np.full((3, 3), np.nan), "not finite"),
        (np.full((3, 3), -np.inf), "not finite"),
        (np.full((3, 3), 1e39), "beyond 1e.30"),
        (np.array([["a"]]), "must be a table of numbers"),
        ("sobel", "Unknown kernel `sobel`. Did you mean `sobel-"),
    ],
)
@pytest.mark.parametrize("function", [convolve, convolve_by_loop])
def test_kernel_that_cannot_be_used(kernel: object, message: str, function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        function(IMAGES["gray"], kernel)


@pytest.mark.parametrize("image", [np.zeros((0, 5), np.uint8), np.zeros((5, 5), np.int32), np.zeros(5, np.uint8)])
def test_image_that_cannot_be_used(image: np.ndarray) -> None:
    with pytest.raises(UsageError, match="The image must be uint8 or floating"):
        convolve(image, "sharpen")


def test_unknown_padding_is_named() -> None:
    with pytest.raises(UsageError, match="Unknown padding `same`"):
        convolve(IMAGES["gray"], "sharpen", "same")  # type: ignore[arg-type]


def test_kernels_cannot_be_changed_and_the_help_names_them_all() -> None:
    with pytest.raises(ValueError, match="read-only"):
        KERNELS["sharpen"][0, 0] = 1
    command = typer.main.get_command(app).commands["convolve"]  # type: ignore[attr-defined]
    (option,) = [parameter for parameter in command.params if parameter.name == "kernel"]
    assert option.help.split(", or a file")[0] == ", ".join(KERNELS)
    assert trainkit.convolve is convolve


@pytest.mark.parametrize("text", ["0 -1 0\n-1 5 -1\n0 -1 0\n", "\ufeff0,-1,0\r\n\r\n-1, 5, -1\n0,-1,0"])
def test_kernel_of_a_text_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "kernel.txt").write_text(text, encoding="utf-8", newline="")
    np.testing.assert_array_equal(read_kernel(tmp_path / "kernel.txt"), KERNELS["sharpen"])


def test_kernel_of_an_npy_file(tmp_path: Path) -> None:
    np.save(tmp_path / "kernel.npy", KERNELS["sharpen"])
    np.testing.assert_array_equal(read_kernel(tmp_path / "kernel.npy"), KERNELS["sharpen"])


def npy(header: str) -> bytes:
    """Return a file whose header announces what does not come: 72 bytes of zeros."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(72)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("kernel.txt", b"a b c", "is no kernel .*could not convert"),
        ("kernel.txt", b"1 2 3\n1", "is no kernel .*rows are not all of one length"),
        ("kernel.txt", b"1 2", "1 rows and 2 columns. Expected odd"),
        ("kernel.txt", b"", "is no kernel .*it is empty"),
        ("kernel.txt", b"\xff\xfe", "is no kernel"),
        ("kernel.txt", b"1 " * 10**6, "has more than 1048576 bytes"),
        ("kernel.txt", b"x" * 10**6, "^.{,300}$"),
        ("kernel.txt", b"1e300", "not finite, or beyond 1e.30"),
        ("kernel.npy", b"\x93NUMPY\x01\x00", "is no kernel"),
        ("kernel.npy", b"", "is no kernel"),
        ("kernel.npy", b"cos\nsystem\n(S'true'\ntR.", "is no kernel"),
        ("kernel.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000001, 1000001)}"), "is no kernel"),
        ("kernel.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (3, 3)}"), "is no kernel .*Object arrays"),
        ("kernel.npy", npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1, 1)}"), "must be a table of numbers"),
        ("kernel.npy", npy("-" * 9000 + "1"), "is no kernel"),
    ],
)
def test_file_that_is_no_kernel(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_kernel(tmp_path / name)


def test_only_a_file_is_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.txt", tmp_path, Path(os.devnull)):
        with pytest.raises(DataError, match=r"No such kernel: .* Expected a file, or one of: small-blur, large-blur"):
            read_kernel(path)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    assert cv2.imwrite(str(path), cv2.resize(NOISE, (300, 200), interpolation=cv2.INTER_CUBIC))
    return path


def test_picture_of_one_kernel_is_what_filter2d_gives(photo: Path, tmp_path: Path) -> None:
    draw_convolutions(photo, tmp_path / "out.png", kernel="sharpen", padding="replicate")
    image = cv2.imread(str(photo))
    wanted = cv2.filter2D(image, -1, KERNELS["sharpen"], borderType=cv2.BORDER_REPLICATE)
    assert difference(np.asarray(cv2.imread(str(tmp_path / "out.png"))), np.asarray(wanted)) <= 1
    with pytest.raises(OutputError, match="exists already"):
        draw_convolutions(photo, tmp_path / "out.png")


def test_grid_has_a_tile_for_each_kernel(photo: Path, tmp_path: Path) -> None:
    draw_convolutions(photo, tmp_path / "grid.png", gray=True)
    grid = cv2.imread(str(tmp_path / "grid.png"))
    assert grid is not None
    assert 3 * 213 < grid.shape[0] < 3 * 260  # three rows of four, each with its name underneath
    assert grid.shape[1] > 4 * 320


def test_what_is_larger_than_the_image_is_named_as_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cv2.imwrite(str(tmp_path / "small.png"), NOISE[:20, :20])
    app(["convolve", str(tmp_path / "small.png"), "--out", str(tmp_path / "grid.png")], standalone_mode=False)
    assert "Left out, because they are larger than the image: large-blur\n" in capsys.readouterr().out


def test_what_cannot_be_drawn_leaves_nothing(photo: Path, tmp_path: Path) -> None:
    for arguments in ({"kernel": "nothing"}, {"kernel": "no.txt"}):
        with pytest.raises((UsageError, DataError)):
            draw_convolutions(photo, tmp_path / "out.png", **arguments)
    for kernel in ("sharpen", None):
        for name in ("out.xyz", "out"):
            with pytest.raises(UsageError, match=r"must be one of \.png, .* Received: .*out"):
                draw_convolutions(photo, tmp_path / name, kernel=kernel)
    with pytest.raises(OutputError, match=r"no folder .*Make it"):
        draw_convolutions(photo, tmp_path / "no" / "out.png")
    with pytest.raises(DataError, match="No such image"):
        draw_convolutions(tmp_path / "no.jpg", tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.timing
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel", KERNELS)
def test_it_takes_at_most_thirty_times_as_long_as_filter2d(kernel: str, channels: int) -> None:
    image = np.asarray(cv2.resize(NOISE, (1640, 1190), interpolation=cv2.INTER_CUBIC))
    image = image if channels == 3 else image[..., 0].copy()
    ratios = []
    for _ in range(5):
        started = time.perf_counter()
        convolve(image, kernel)
        between = time.perf_counter()
        cv2.filter2D(image, -1, KERNELS[kernel])
        ratios.append((between - started) / (time.perf_counter() - between))
    assert statistics.median(ratios) < 30

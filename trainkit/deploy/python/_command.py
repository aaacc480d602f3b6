"""The command line: read what is named, answer it, print."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Generator, Iterator, List, NoReturn, Sequence, Set

import cv2

from trainkit.deploy.python._ahead import Complain
from trainkit.deploy.python._detector import Detector
from trainkit.deploy.python._drawing import draw, save_picture
from trainkit.deploy.python._manifest import read_manifest
from trainkit.deploy.python._media import Picture, list_inputs, read_pictures
from trainkit.deploy.python._opencv import has_engines
from trainkit.deploy.python._prediction import Ready, answer_pictures, describe_speed, open_bundle, read_ready
from trainkit.deploy.python._selftest import describe_file_check, selftest
from trainkit.deploy.python._showing import harmless, named
from trainkit.deploy.python._streams import open_streams
from trainkit.deploy.python._values import NOTHING_FOUND, BundleError, Detection, Prediction


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(harmless(message))  # a name that a shell put in for `*` may hold anything


def _describe(found: Sequence[Prediction | Detection]) -> str:
    lines = []
    for one in found:
        where = f" at {' '.join(f'{edge:.0f}' for edge in one.box)}" if isinstance(one, Detection) else ""
        lines.append(f"{named(one[0])} {one[1]:.4f}{where}")
    return ", ".join(lines) or NOTHING_FOUND


def _answer_inputs(network: Any, options: argparse.Namespace) -> int:
    """Print a line for each image or frame, and at the end how many a second there were."""
    problems: List[BundleError] = []

    def complain(error: BundleError, _: Any = None) -> None:
        problems.append(error)
        print(harmless(str(error)), file=sys.stderr, flush=True)

    warn = _warner()
    several = len(options.inputs) != 1 or os.path.isdir(options.inputs[0])
    started, count = time.perf_counter(), 0
    try:
        with contextlib.closing(_read(network, options, complain)) as pictures:
            answers = answer_pictures(pictures, _answer_blob(network, options), batch=options.batch, complain=complain)
            for ready, found in answers:
                picture = ready.picture
                print(harmless(f"{picture.name}: {_describe(found)}"), flush=True)
                warn(ready)
                if options.annotate is not None:
                    save_picture(options.annotate, picture, draw(picture.image, found), several=several)
                count += 1
    except BundleError as error:  # no camera, or no place for a picture
        complain(error)
    except KeyboardInterrupt:
        if options.camera is None:
            raise
    if count:
        print(describe_speed(count, time.perf_counter() - started), file=sys.stderr)
    return 1 if problems else 0


def _read(network: Any, options: argparse.Namespace, complain: Complain) -> Generator[Ready, None, None]:
    """Return what is to be answered."""

    def read(complain: Complain) -> Iterator[Picture]:
        files = list_inputs(options.inputs, complain)
        return read_pictures(files, complain, camera=options.camera, every=options.every)

    return read_ready(read, network, complain, invert=options.invert, ahead=options.camera is None)


def _warner() -> Callable[[Ready], None]:
    """Return what says, of each image or once of a film, that it is unlike the training images."""
    warned: Set[Any] = set()

    def warn(ready: Ready) -> None:
        picture = ready.picture
        if ready.warning is None or picture.source in warned:
            return
        print(harmless(f"{picture.name}: {ready.warning}"), file=sys.stderr, flush=True)
        if picture.frame is not None:
            warned.add(picture.source)

    return warn


def _answer_blob(network: Any, options: argparse.Namespace) -> Callable[..., Sequence[Any]]:
    chosen = {} if isinstance(network, Detector) else {"top": options.top}
    if options.min_confidence is not None:
        chosen["min_confidence"] = options.min_confidence
    return functools.partial(network.answer_blob, **chosen)


def _run_selftest(bundle: Path) -> int:
    result = selftest(bundle)
    manifest = read_manifest(bundle)
    engine = manifest.get("opencv", {}).get("engine") if has_engines() else None
    verdict = "the same answers as Keras" if result["ok"] else "NOT the answers that Keras gave"
    originals = f", {result['same_originals']} of {result['originals']} originals equal" if result["originals"] else ""
    print(
        f"OpenCV {cv2.__version__}{f', {engine} engine' if engine else ''}: {verdict}. "
        f"{result['same_labels']} of {result['images']} labels, "
        f"{result['same_pixels']} of {result['images']} inputs equal, "
        f"largest difference {result['max_abs_difference']:.1e}{originals}. {describe_file_check(manifest['model'])}"
    )
    return 0 if result["ok"] else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(description="Classify images with the model beside this file.")
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="images, folders, and videos by suffix, as .mp4")
    parser.add_argument("--camera", type=int, metavar="N", help="what camera N sees, until Ctrl-C")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of a video or camera, each Nth frame")
    parser.add_argument("--selftest", action="store_true", help="compare this machine's answers with those of Keras")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="labels an image, at most (default: 5)")
    parser.add_argument("--min-confidence", type=float, metavar="P", help="lowest probability to show, 0 to 1")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at a time (default: 1)")
    parser.add_argument("--annotate", metavar="OUT", help="draw it on the picture: a file, or a folder for several")
    parser.add_argument("--invert", action="store_true", help="turn dark into light before anything else")
    parser.add_argument("--backend", metavar="NAME", help="what computes, by OpenCV's name, such as OPENCV or CUDA")
    parser.add_argument("--target", metavar="NAME", help="on what, by OpenCV's name, such as CPU or CUDA_FP16")
    options = parser.parse_args(arguments)
    if bool(options.inputs) + (options.camera is not None) + options.selftest != 1:
        parser.error("name at least one INPUT, or --camera N, or --selftest")
    if min(options.top, options.every, options.batch) < 1:
        parser.error("--top, --every and --batch must be at least 1")
    if options.min_confidence is not None and not 0 <= options.min_confidence <= 1:
        parser.error("--min-confidence must be from 0 to 1")
    if options.camera is not None and options.camera < 0:
        parser.error("--camera must be 0 or more")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Classify what is named on the command line, or run the self-test."""
    options = _parse(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a pipe may not know the letters of a class name
    bundle = Path(__file__).resolve().parent
    try:
        if options.selftest:
            return _run_selftest(bundle)
        network = open_bundle(bundle, backend=options.backend, target=options.target)
        return _answer_inputs(network, options)
    except ValueError as error:
        print(harmless(str(error)), file=sys.stderr)
        return 2
    except BundleError as error:
        print(harmless(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone; there is nobody to tell
        return 1


def _run_as_program() -> int:
    open_streams()
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()  # the rest of the answer, which may be the help
    except BundleError as error:
        print(harmless(str(error)), file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has gone; there is nobody to tell
        return 1


if __name__ == "__main__":
    sys.exit(_run_as_program())

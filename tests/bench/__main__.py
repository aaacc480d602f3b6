"""What trainkit costs and gives, beside what one would have used instead.

    python tests/bench [PART ...] [--json] [--long] [--older-cpu]

Parts are `augmentation`, `reading`, `memory`, `growth`, `training`, `transfer`, `exporting` and `classifying`; all
of them without a name. `transfer` needs the real data: TRAINKIT_SHARED and KERAS_HOME.
`readers` comes by its name only: exported graphs in several versions of OpenCV beside onnxruntime, for an hour or more.
Ends with 1 where a bound does not hold. `python tests/bench/PART.py --help` tells what a part takes besides.
What is compared is measured in one run, in turn, because times differ from hour to hour; ratios are ours divided by the
other's. Above the table stands on what it was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import augmentation
import classifying
import exporting
import growth
import machine
import memory
import pipeline
import readers
import training
import transfer

_LEAST_OF_A_BARE_LOOP = 0.95
_MOST_EXPONENT = "<= 1.15"  # of the time over the number of images
_MOST_BYTES = "<= 2000"  # an image, of memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison."""

    part: str
    what: str
    ours: float
    other: float | None  # of what one would have used instead
    unit: str
    ratio: float | None  # ours / other
    bound: str = ""  # what is wanted of the ratio, or of ours where there is none
    holds: bool | None = None  # whether it is so


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of all parts."""

    long: bool  # the trainings that take ten times the script's time, too
    older_cpu: bool  # train as on a CPU without AVX-512, in the parts `training` and `transfer`


def _row(part: str, what: str, ours: float, other: float | None, unit: str, bound: str = "") -> Row:
    """Return a row; its bound is `>= 12`, held against the ratio where there is one."""
    ratio = None if other is None else ours / other
    holds = None
    if bound:
        sign, limit = bound.split()
        value = ours if ratio is None else ratio
        holds = value >= float(limit) if sign == ">=" else value <= float(limit)
    return Row(part=part, what=what, ours=ours, other=other, unit=unit, ratio=ratio, bound=bound, holds=holds)


def _augmentation(options: Options) -> Iterator[Row]:
    bounds = {"224x224x3": ">= 12", "28x28x1": ">= 10"}
    for row in augmentation.rows():
        shape, ours = row["shape"], row["ours_images_s"]
        yield _row(
            "augmentation", f"{shape} and ImageDataGenerator", ours, row["keras_images_s"], "images/s", bounds[shape]
        )
        yield _row("augmentation", f"{shape} and Keras' layers", ours, row["layers_images_s"], "images/s")
        yield _row("augmentation", f"{shape} and a bare warpAffine", ours, row["bare_images_s"], "images/s")


def _reading(options: Options) -> Iterator[Row]:
    found = {row["name"]: row for row in pipeline.measure()}
    bare = found.pop("a bare loop of imread and resize, images/s")["value"]
    for name, row in found.items():
        other, bound = (bare, ">= 0.9") if name.startswith("first pass") else (None, "")
        if name.startswith("later passes"):
            bound = ">= 5000"
        yield _row("reading", name.removesuffix(", images/s"), row["value"], other, "images/s", bound)


def _memory(options: Options) -> Iterator[Row]:
    few, many = memory.measure()
    yield _row("memory", "50,000 images of 224x224, and 500", many["value"], few["value"], "MB")
    yield _row("memory", "the difference of the two", many["difference"], None, "MB", "<= 1500")


def _growth(options: Options) -> Iterator[Row]:
    for kind in growth.KINDS:
        for found in growth.measure_growth(kind, growth.LONG_SIZES[kind] if options.long else growth.SIZES):
            one = found.measured
            what = f"{kind}: {growth.STAGES[one.stage]}, {one.images:,}"
            yield _row("growth", what, one.seconds, None, "s")
            if found.exponent is not None:
                yield _row("growth", f"{what}: exponent", found.exponent, None, "", _MOST_EXPONENT)
            if found.bytes_an_image is not None:
                yield _row("growth", f"{what}: bytes an image", found.bytes_an_image, None, "B", _MOST_BYTES)


def _training(options: Options) -> Iterator[Row]:
    for row in training.rows(long=options.long, older_cpu=options.older_cpu):
        yield _row("training", f"{row['name']}: seconds", row["seconds"], row["script_seconds"], "s", row["time_bound"])
        yield _row("training", f"{row['name']}: test accuracy", row["accuracy"], None, "", row["accuracy_bound"])


def _transfer(options: Options) -> Iterator[Row]:
    if "TRAINKIT_SHARED" not in os.environ:
        print("transfer is left out: TRAINKIT_SHARED names no folder of real data.", file=sys.stderr)
        return
    name, found = "a head on MobileNet 0.75", transfer.measure(older_cpu=options.older_cpu)
    yield _row("transfer", f"{name}: the whole process", found["seconds"], None, "s", found["time_bound"])
    yield _row("transfer", f"{name}: test accuracy", found["accuracy"], None, "", found["accuracy_bound"])
    yield _row("transfer", f"{name}: of the CPU", found["cpu_seconds"], None, "CPU s")
    for stage, (seconds, cpu_seconds) in found["stages"].items():
        yield _row("transfer", f"{name}: {stage}", seconds, None, "s")
        yield _row("transfer", f"{name}: {stage}, of the CPU", cpu_seconds, None, "CPU s")


def _exporting(options: Options) -> Iterator[Row]:
    for row in exporting.rows():
        if "error" in row:
            yield Row(
                part="exporting", what=f"{row['network']}: {row['error']}", ours=0, other=None, unit="", ratio=None
            )
            continue
        note = f", {row['filled']} of its inputs filled in" if row["filled"] else ""
        yield _row(
            "exporting", f"{row['network']}: an answer, and tf2onnx's{note}", row["ours_ms"], row["naive_ms"], "ms"
        )
        recent = row["recent_ratio"] * row["naive_ms"]
        yield _row("exporting", f"{row['network']}: for OpenCV 4.10 and later", recent, row["naive_ms"], "ms")
        yield _row("exporting", f"{row['network']}: the file", row["size_ratio"], 1.0, "of its size")


def _classifying(options: Options) -> Iterator[Row]:
    for row in classifying.rows():
        ours, bare = row["count"] / row["ours_s"], row["count"] / row["bare_s"]
        holds = row["ratio"] >= _LEAST_OF_A_BARE_LOOP
        yield Row(
            part="classifying",
            what=f"{row['name']}, and a bare loop",
            ours=ours,
            other=bare,
            unit="images/s",
            ratio=row["ratio"],  # of pairs in turn
            bound=f">= {_LEAST_OF_A_BARE_LOOP}",
            holds=holds,
        )


def _readers(options: Options) -> Iterator[Row]:
    for row in readers.rows():
        what = f"{row['network']}, {row['batch']} at a time, in {row['reader']}"
        figures = row.get("ms", {})
        for other in ("naive", "onnxruntime"):
            if other in figures and "ours" in figures and not {"ours", other} & row["wrong"].keys():
                yield Row(
                    part="readers",
                    what=f"{what}, and {other}",
                    ours=figures["ours"],
                    other=figures[other],
                    unit="ms",
                    ratio=row["ratio"][other],  # of pairs in turn
                )
        for name, reason in {**row.get("wrong", {}), **({"ours": row["error"]} if "error" in row else {})}.items():
            yield Row(part="readers", what=f"{what}: {name} {reason}", ours=0, other=None, unit="", ratio=None)


PARTS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "augmentation": _augmentation,
    "reading": _reading,
    "memory": _memory,
    "growth": _growth,
    "training": _training,
    "transfer": _transfer,
    "exporting": _exporting,
    "classifying": _classifying,
    "readers": _readers,
}
_ON_REQUEST = ("readers",)
_ON_OLDER_CPU = ("training", "transfer")


def main() -> None:
    """Measure and print, a row as soon as it is there; end with 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all but the last")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--long", action="store_true", help="long trainings and a million images, too")
    parser.add_argument("--older-cpu", action="store_true", help="training, transfer as on a CPU without AVX-512")
    arguments = parser.parse_args()
    usual = [part for part in PARTS if part not in _ON_REQUEST]
    if arguments.older_cpu:
        usual = list(_ON_OLDER_CPU)
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"Unknown part {', '.join(sorted(unknown))}. Expected: {', '.join(PARTS)}")
    if arguments.older_cpu and (others := set(arguments.parts) - set(_ON_OLDER_CPU)):
        parser.error(f"--older-cpu is for {' and '.join(_ON_OLDER_CPU)}, not for {', '.join(sorted(others))}")
    rows: list[Row] = []
    options = Options(arguments.long, arguments.older_cpu)
    found = machine.describe(older_cpu=options.older_cpu)
    if not arguments.json:
        print(machine.in_words(found))
        print(f"{'part':<13}{'what':<58}{'ours':>11}{'other':>11}  {'unit':<12}{'ratio':>7}  bound")
    for part in arguments.parts or usual:
        print(f"Measuring {part} ...", file=sys.stderr)
        for row in PARTS[part](options):
            rows.append(row)
            if not arguments.json:
                print(_line(row), flush=True)
    if arguments.json:
        print(json.dumps({"machine": found, "rows": [asdict(row) for row in rows]}, indent=2))
    sys.exit(any(row.holds is False for row in rows))


def _line(row: Row) -> str:
    other = "" if row.other is None else f"{row.other:,.4g}"
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
    verdict = "" if row.holds is None else f"{row.bound} {'holds' if row.holds else 'DOES NOT HOLD'}"
    return f"{row.part:<13}{row.what:<58}{row.ours:>11,.4g}{other:>11}  {row.unit:<12}{ratio:>7}  {verdict}".rstrip()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

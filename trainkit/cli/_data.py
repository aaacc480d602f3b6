"""`trainkit data ...`: look at data before it is trained on."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import AsJson, print_json, print_table, say, wrapped
from trainkit.cli._reading import reads_data
from trainkit.cli._tables import ITEMS
from trainkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from trainkit.data._check import DataCheck
    from trainkit.data._data_statistics import DataStatistics

data_app = typer.Typer(no_args_is_help=True, epilog="Example: trainkit data check photos/")
app.add_typer(data_app, name="data")

_SHOWN = 5  # groups or files of a kind; --json and --html have more


@data_app.callback()
def options() -> None:
    """Look at data before it is trained on."""


@data_app.command(epilog="Example: trainkit data check photos/ --html photos.html")
@reads_data
def check(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Class folders, perhaps in train/, val/, test/; a CSV or .npz."),
    ],
    validation: Annotated[
        float, typer.Option(help="The share that train would hold out: what it splits must not leak.", min=0, max=0.999)
    ] = 0.1,
    together: Annotated[
        bool,
        typer.Option("--keep-together", help="Put the pictures of leaks that the split makes into training."),
    ] = False,
    reading: Any = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the pictures.", metavar="FILE")] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="End with 1 after leaks, contradictions, unreadable files or left-out images."),
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Look at the files on a Ray cluster whose machines see the same paths; or `local`.", metavar="ADDRESS"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report what is wrong in a folder of photographs.

    Unreadable files, duplicates and near-duplicates, contradicting labels, leaks into the test.
    """
    from trainkit.data._check import check_data, keep_together

    with _looking_on(cluster):
        found = check_data(folder, validation=validation, reading=reading)
    if together and not found.can_pin:
        raise UsageError("--keep-together is for files. In arrays, choose the sides yourself: x_val, x_test.")
    if together and found.own_leaks:
        keep_together(found)
        with _looking_on(cluster):
            found = check_data(folder, validation=validation, reading=reading)
    if html:
        from trainkit.reports._data_check import write_data_check

        write_data_check(found, html)
    if as_json:
        print_json(found.to_json())
    else:
        _print_check(found)
        if html:
            say(f"Wrote {html}.")
    if strict and found.spoiled_by:
        raise DataError(f"{folder} should be put right before it is trained on: {', '.join(_reasons(found))}.")


def _looking_on(cluster: str | None) -> AbstractContextManager[None]:
    """Return what looks at files on a cluster, where there is one."""
    if cluster is None:
        return nullcontext()
    from trainkit.cluster._inspecting import inspecting_on

    return inspecting_on(cluster)


def _reasons(found: DataCheck) -> list[str]:
    names = ", ".join(path.name for path in found.missed)
    return [f"left out ({names})" if key == "left_out" else key for key in found.spoiled_by]


def _print_check(found: DataCheck) -> None:
    document = found.to_json()
    sides = list(document["sides"])
    say(f"{document['images']} images, {len(document['classes'])} classes: {found.data}")
    say()
    rows = [
        [name, *(str(document["sides"][side].get(name, 0)) for side in sides), str(count)]
        for name, count in document["classes"].items()
    ]
    if rows:
        print_table(["class", *sides, "images"], rows)
        say()
    findings = [row for row in _findings(document) if row[1] != "0"]
    print_table(["found", "how many", "which"], findings, breaks={"which": ITEMS})
    if found.own_leaks:
        say()
        say(f"The split makes {len(found.own_leaks)} of the leaks: --keep-together puts their pictures into training.")
    for warning in document["warnings"]:
        say()
        print(wrapped(warning, sys.stdout))
    if document["refusal"]:
        say()
        say(f"Training would end with: {document['refusal']}")


def _findings(document: dict[str, Any]) -> list[list[str]]:
    """Return the rows of the table of findings, the worst first."""
    root = document["data"].rstrip("/") + "/"

    def listed(values: list[str]) -> str:
        more = f"; and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
        return "; ".join(value.replace(root, "") for value in values[:_SHOWN]) + more

    def counted(values: dict[str, int]) -> str:
        return listed([f"{value} ({count})" for value, count in values.items()])

    groups = {
        "LEAKS": document["leaks"],
        "CONTRADICTIONS": document["contradictions"],
        "near duplicates": document["near_duplicates"],
        "duplicates": document["duplicates"],
    }
    rotated = {name: count for name, count in document["orientations"].items() if name != "1"}
    problems = [f"{path} {problem}" for path, problem in document["problems"].items()]
    imbalance = document["imbalance"] or 1
    times = f"{imbalance:.1f}"
    return [
        *([kind, str(len(found)), listed([" = ".join(group) for group in found])] for kind, found in groups.items()),
        ["unreadable", str(len(problems)), listed(problems)],
        ["links that leave", str(len(document["links"])), listed(document["links"])],
        ["folders left out", str(len(document["left_out"])), listed(document["left_out"])],
        ["hidden or junk", str(len(document["hidden"])), listed(document["hidden"])],
        ["beside the classes", str(len(document["strays"])), listed(document["strays"])],
        ["imbalance", times if imbalance >= 1.05 else "0", f"the largest class is {times} times the smallest"],
        ["EXIF rotations", str(sum(rotated.values())), counted(rotated)],
        ["sizes", str(len(document["sizes"])), counted(document["sizes"])],
        ["modes", str(len(document["modes"])), counted(document["modes"])],
        ["formats", str(len(document["formats"])), counted(document["formats"])],
    ]


@data_app.command(epilog="Example: trainkit data stats photos/ --size 224x224 --mean-image mean.npy")
@reads_data
def stats(
    data: Annotated[str, typer.Argument(help="As for train; also a folder of images without classes.")],
    split: Annotated[str, typer.Option(help="all, or the side that is meant: train, val or test.")] = "all",
    validation: Annotated[
        float, typer.Option(help="The share that train would hold out, for --split.", min=0, max=0.999)
    ] = 0.1,
    size: Annotated[
        str | None, typer.Option(help="Bring the images to this size first, pixels.", metavar="WxH")
    ] = None,
    color: Annotated[str, typer.Option(help="rgb, bgr or gray: the order of the figures.")] = "rgb",
    resize: Annotated[str | None, typer.Option(help="stretch, crop or pad, for --size. Default: stretch")] = None,
    mean_image: Annotated[
        Path | None, typer.Option(help="Write the mean of each pixel to this .npy file.", metavar="OUT.npy")
    ] = None,
    reading: Any = None,
    as_json: AsJson = False,
) -> None:
    """Measure mean and standard deviation of the pixels, exactly.

    Also prints them as the arguments of cv2.dnn.blobFromImage.
    """
    from trainkit.data._data_statistics import measure_data

    measured = measure_data(
        data,
        split=split,
        validation=validation,
        size=size,
        color=color,
        resize=resize,
        mean_image=mean_image,
        reading=reading,
    )
    for warning in measured.warnings:
        say(warning, to=sys.stderr)
    if as_json:
        print_json(measured.to_json())
    else:
        _print_statistics(measured)


def _print_statistics(measured: DataStatistics) -> None:
    found = measured.found
    shown = f"resized to {measured.size[0]}x{measured.size[1]}" if measured.size else "at their own size"
    say(f"{found.images} images, {found.pixels} pixels, {shown}: {measured.data}")
    say()
    names = {"rgb": ["red", "green", "blue"], "bgr": ["blue", "green", "red"], "gray": ["gray"]}[measured.color]
    rows = [[name, f"{mean:.6f}", f"{std:.6f}"] for name, mean, std in zip(names, found.mean, found.std, strict=True)]
    print_table(["channel", "mean", "std"], rows)
    if blob := measured.blob:
        print("\ncv2.dnn.blobFromImage(\n    image,")
        for key, value in blob.items():
            numbers = ", ".join(f"{number:.10g}" for number in value) if isinstance(value, list) else ""
            shown = f"({numbers})" if numbers else f"{value:.10g}" if isinstance(value, float) else str(value)
            say(f"    {key}={shown},")
        print(")")
        if len(set(found.std)) > 1:
            note = "One scalefactor is for all channels. trainkit puts the rest, a std that differs, into the graph."
            print(wrapped(note, sys.stdout))
    else:
        print("\nA channel is the same everywhere: there is no deviation to divide by.")
    if measured.mean_image:
        say(f"Wrote {measured.mean_image}.")


@data_app.command(epilog="Example: trainkit data augment photos/ --out grid.png --set augmentation.rotation_range=30")
@reads_data
def augment(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train.")],
    out: Annotated[Path, typer.Option(help="The picture to write, a new file.", metavar="FILE")] = Path("grid.png"),
    model: Annotated[str | None, typer.Option(help="As for train; it decides on the size.")] = None,
    reading: Any = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting of train, repeatable.", metavar="KEY=VALUE")
    ] = None,
    index: Annotated[int, typer.Option(help="Which training image, from 0.", min=0)] = 0,
    count: Annotated[int, typer.Option(help="How many epochs to show.", min=1)] = 15,
    seed: Annotated[int, typer.Option(help="Of the training.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw what augmentation makes of an image.

    The image itself comes first, then what the network sees of it in each epoch.
    """
    from trainkit.reports._augmentations import draw_augmentations
    from trainkit.runs._settings import parse_assignment

    settings = {**reading.to_settings(), **dict(map(parse_assignment, set_ or []))}
    path = draw_augmentations(data, out, model=model, settings=settings, index=index, count=count, seed=seed)
    if as_json:
        print_json({"picture": str(path.absolute())})
    else:
        say(f"Wrote {path}.")

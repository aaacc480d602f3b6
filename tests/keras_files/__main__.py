"""Files that Keras 2 wrote, read and exported: `python tests/keras_files` writes and measures them, and the table."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from checking import Result, check_file, load_list
from environments import ENVIRONMENTS, MissingEnvironmentError, environment_python, make_environment

from trainkit.files import write_json, write_text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BEGIN, END = "<!-- keras-files: begin -->", "<!-- keras-files: end -->"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; 1 where a file is read wrong or an environment cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python tests/keras_files",
        description=__doc__,
        epilog="example: python tests/keras_files --kinds mobilenet",
    )
    parser.add_argument("--kinds", metavar="A,B", help="only these of the list in kinds.py")
    parser.add_argument("--versions", metavar="A,B", help=f"only these of {', '.join(ENVIRONMENTS)}")
    parser.add_argument("--folder", type=Path, default=ROOT / ".keras-files", help="environments, files, results")
    parser.add_argument(
        "--page", type=Path, default=ROOT / "docs" / "keras-files.md", help="where a full run writes its table"
    )
    options = parser.parse_args(arguments)
    kinds = options.kinds.split(",") if options.kinds else []
    versions = options.versions.split(",") if options.versions else list(ENVIRONMENTS)
    files = options.folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    try:
        for version in versions:
            make_environment(options.folder, version)
            _run(options.folder, version, HERE / "writing.py", files, version, *kinds)
    except MissingEnvironmentError as error:
        print(error, file=sys.stderr)
        return 1
    results = _check(options.folder, files, kinds, versions)
    write_json(options.folder / "results.json", [asdict(result) for result in results])
    if not options.kinds and not options.versions:
        write_table(options.page, results)
    print(count(results))
    return int(any(result.verdict == "red" for result in results))


def _run(
    folder: Path, version: str, script: Path, *arguments: object, environment: dict[str, str] | None = None
) -> None:
    command = [environment_python(folder, version), script, *map(str, arguments)]
    subprocess.run(command, check=True, env={**os.environ, **(environment or {})})


def _check(folder: Path, files: Path, kinds: list[str], versions: list[str]) -> list[Result]:
    known = load_list(files)
    found = [
        files / f"{kind}-{version}{entry['suffix']}"
        for kind, entry in known.items()
        for version in entry["versions"]
        if version in versions and (not kinds or kind in kinds)
    ]
    missing = [path.name for path in found if not path.with_suffix(".npz").is_file()]
    own = _own_differences(folder, [path for path in found if path.name not in missing])
    results = []
    with tempfile.TemporaryDirectory() as exported:
        for path in found:
            entry = known[path.stem.rpartition("-")[0]]
            if path.name in missing:
                print(f"{path.name}: Keras 2 could not write it: {path.with_suffix('.error')}")
                continue
            result = check_file(path, entry, own.get(path.name), Path(exported))
            figure = "" if result.difference is None else f"{result.difference:.0e} "
            print(f"{path.name:<55} {result.verdict} {figure}{result.reason[:160]}", flush=True)
            results.append(result)
    return results


def _own_differences(folder: Path, files: Sequence[Path]) -> dict[str, float]:
    """Return how far each file's answers are from those of the newest Keras 2, with TensorFlow's oneDNN or without."""
    newest = list(ENVIRONMENTS)[-1]
    make_environment(folder, newest)
    largest: dict[str, float] = {}
    for onednn in ("0", "1"):
        target = folder / f"own-{onednn}.json"
        known = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
        new = [path for path in files if path.name not in known]
        if new:
            arguments = (folder / "new.json", *new)
            _run(folder, newest, HERE / "answering.py", *arguments, environment={"TF_ENABLE_ONEDNN_OPTS": onednn})
            known.update(json.loads((folder / "new.json").read_text(encoding="utf-8")))
            write_json(target, known)
        for name, difference in known.items():
            largest[name] = max(difference, largest.get(name, 0.0))
    return largest


def count(results: Sequence[Result]) -> str:
    """Return how many files came out how."""
    counts = Counter(result.verdict for result in results)
    exported = counts["equal"] + counts["within"] + counts["rounding"]
    return (
        f"{len(results)} files of {len({result.kind for result in results})} kinds: {exported} exported "
        f"({counts['equal']} within 1e-6 of Keras 2, {counts['within']} within 1e-5, {counts['rounding']} as near as "
        f"Keras 2 is to itself),\n{counts['warned']} with a warning, {counts['refused']} refused, "
        f"{counts['red']} wrong."
    )


def to_markdown(results: Sequence[Result]) -> str:
    """Return the table: a row for each kind, its largest difference over the versions."""
    lines = [count(results), "", "| kind | TensorFlow | | difference | Keras 2 itself |", "|---|---|---|---|---|"]
    for kind in dict.fromkeys(result.kind for result in results):
        rows = [result for result in results if result.kind == kind]
        verdicts = ", ".join(dict.fromkeys(row.verdict for row in rows))
        figures = [_figure([getattr(row, name) for row in rows]) for name in ("difference", "own")]
        if rows[0].difference is None:
            figures = ["", ""]
        lines.append(
            f"| {rows[0].title} | {', '.join(row.version for row in rows)} | {verdicts} | {' | '.join(figures)} |"
        )
    return "\n".join(lines)


def _figure(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.0e}".replace("e-0", "e-") if known else ""


def write_table(page: Path, results: Sequence[Result]) -> None:
    """Put the table between the marks of a page.

    Raises:
        ValueError: it has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} needs the lines {BEGIN} and {END} around the table.")
    write_text(page, f"{before}{BEGIN}\n{to_markdown(results)}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())

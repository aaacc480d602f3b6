"""`trainkit report` and `trainkit compare`."""

from __future__ import annotations

from trainkit.cli.app import app
from trainkit.cli.output import (
    EXPERIMENTS,
    EXPORTED,
    AsJson,
    Experiments,
    Exported,
    RunArgument,
    print_json,
)


@app.command(epilog="Example: trainkit report latest")
def report(
    run: RunArgument, experiments: Experiments = EXPERIMENTS, exported: Exported = EXPORTED, as_json: AsJson = False
) -> None:
    """Write a run's report: one page with curves, mistakes, reliability, layers and more, and its pictures."""
    from trainkit.reports.report import report as report_run

    path = report_run(run, experiments=experiments, exported=exported)
    pictures = [str(picture.absolute()) for picture in sorted(path.parent.glob("*.png"))]
    if as_json:
        print_json({"report": str(path.absolute()), "pictures": pictures})
        return
    print(f"Wrote {path} and {len(pictures)} pictures beside it. Open it in a browser.")

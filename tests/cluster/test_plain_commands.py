"""What is for more than one machine is loaded where it is asked for, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ENGINES = {"alembic", "optuna", "psycopg", "pyarrow", "ray", "sqlalchemy"}
PLAIN = """
import sys
import trainkit, trainkit.cli, trainkit.cluster._sweep, trainkit.cluster._sweep_worker
import trainkit.training._fit, trainkit.training._winner, trainkit.reports._sweep
import trainkit.bundles._export, trainkit.bundles._predict, trainkit.bundles._check, trainkit.data._label_errors
trainkit.sweep, trainkit.Sweep, trainkit.train, trainkit.report, trainkit.compare, trainkit.evaluate
sys.argv = ["trainkit", "runs"]
try:
    trainkit.cli.main()
except SystemExit as ended:
    assert not ended.code
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_plain_commands_load_no_engine(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PLAIN], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"trainkit", "tensorflow"} <= loaded
    assert not loaded & ENGINES


def test_help_of_the_sweep_loads_no_engine() -> None:
    code = (
        "import sys; sys.argv = ['trainkit', 'sweep', '--help']\nfrom trainkit.cli import app\n"
        "app(standalone_mode=False)\nprint(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--trials" in done.stdout
    assert not set(done.stdout.splitlines()[-1].split()) & (ENGINES | {"tensorflow"})

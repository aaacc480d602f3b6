"""What each of several processes of one training is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainkit.runs._run import Run
from trainkit.training._watching import Watch, watched_by


@dataclass(frozen=True, slots=True)
class Work:
    """A training to begin, or a run to go on with; it can be pickled."""

    run: str | None  # to go on with
    data: Any
    options: dict[str, Any]  # of `train`
    experiments: str

    def going_on_with(self, run: str | None) -> Work:
        """Return the same, that goes on with a run where one has begun."""
        return self if run is None else replace(self, run=run)

    def do(self, watch: Watch) -> Run:
        """Train, as the one of several processes that TF_CONFIG says this is."""
        from trainkit.training._train import resume, train

        with watched_by(watch):
            if self.run is not None:
                return resume(self.run, experiments=Path(self.experiments), distribute="workers")
            return train(self.data, **self.options, experiments=Path(self.experiments))

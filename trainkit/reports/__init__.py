"""What a run looks like to a person: charts, pictures and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.reports._augmentations import draw_augmentations
    from trainkit.reports._comparison import Comparison, compare
    from trainkit.reports._data_check import write_data_check
    from trainkit.reports._page import write_report
    from trainkit.reports._plots import draw_confusion_matrix, draw_curves
    from trainkit.reports._report import report

__all__ = [
    "Comparison",
    "compare",
    "draw_augmentations",
    "draw_confusion_matrix",
    "draw_curves",
    "report",
    "write_data_check",
    "write_report",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Comparison": "trainkit.reports._comparison",
        "compare": "trainkit.reports._comparison",
        "draw_augmentations": "trainkit.reports._augmentations",
        "draw_confusion_matrix": "trainkit.reports._plots",
        "draw_curves": "trainkit.reports._plots",
        "report": "trainkit.reports._report",
        "write_data_check": "trainkit.reports._data_check",
        "write_report": "trainkit.reports._page",
    },
)

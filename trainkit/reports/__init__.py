"""What a run looks like to a person: charts, pictures and one page. `report.py` and `comparison.py` are the way in."""

from trainkit.reports.page import write_report
from trainkit.reports.plots import draw_confusion_matrix, draw_curves

__all__ = ["draw_confusion_matrix", "draw_curves", "write_report"]

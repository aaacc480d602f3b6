"""What a run looks like to a person: two pictures and one page."""

from trainkit.reports.plots import draw_confusion_matrix, draw_curves
from trainkit.reports.report import write_report

__all__ = ["draw_confusion_matrix", "draw_curves", "write_report"]

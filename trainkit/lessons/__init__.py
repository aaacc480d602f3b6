"""The tools of the notebooks: convolution by hand, faces, and the networks that know ImageNet's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.lessons._convolution import KERNELS, convolve
    from trainkit.lessons._faces import find_faces
    from trainkit.lessons._imagenet import classify

__all__ = ["KERNELS", "classify", "convolve", "find_faces"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "KERNELS": "trainkit.lessons._convolution",
        "classify": "trainkit.lessons._imagenet",
        "convolve": "trainkit.lessons._convolution",
        "find_faces": "trainkit.lessons._faces",
    },
)

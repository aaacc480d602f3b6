"""`trainkit convolve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli._app import app
from trainkit.cli._output import AsJson, print_json, say

# Written out, because the help must not wait for the module that has them: a test compares.
_KERNELS = (
    "small-blur, large-blur, sharpen, laplacian, sobel-x, sobel-y, gaussian, scharr-x, scharr-y, prewitt-x, prewitt-y, "
    "or a file: .npy, or text with a row a line. Default: all of them."
)


@app.command(epilog="Example: trainkit convolve photo.jpg --kernel sobel-x --out edges.png")
def convolve(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photograph.")],
    kernel: Annotated[str | None, typer.Option(help=_KERNELS)] = None,
    padding: Annotated[str, typer.Option(help="zero, replicate, reflect or wrap.")] = "reflect",
    flip: Annotated[bool, typer.Option("--flip", help="Turn the kernel first: convolution, not correlation.")] = False,
    gray: Annotated[bool, typer.Option("--gray", help="Make the image grey first.")] = False,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("grid.png"),
    as_json: AsJson = False,
) -> None:
    """Slide a kernel over an image, and draw the result beside it."""
    from trainkit.lessons._convolution import KERNELS, check_padding
    from trainkit.lessons._kernel_pictures import draw_convolutions

    drawn = draw_convolutions(image, out, kernel=kernel, padding=check_padding(padding), flip=flip, gray=gray)
    if as_json:
        print_json({"picture": str(out.absolute()), "kernels": drawn})
    else:
        say(f"Wrote {out}.")
        left_out = [name for name in KERNELS if kernel is None and name not in drawn]
        if left_out:
            say(f"Left out, because they are larger than the image: {', '.join(left_out)}")

"""What all figures share: colours, size, and how they become a file."""

import io

import matplotlib
from matplotlib.figure import Figure

SYNTHETIC = "SYNTHETIC DATA"


def svg(figure: Figure) -> str:
    """A figure as SVG text, the same at every call."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "popk", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()

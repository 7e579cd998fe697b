"""What a drawn figure shows: its texts and where they stand."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """All texts that can be seen, with their boxes in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    ticks, unseen = set(), set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            own = {t for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
                   for t in (tick.label1, tick.label2)}  # fmt: skip
            ticks |= own
            # Ticks beyond the limits, and those of inner axes that share theirs, are not drawn
            unseen |= own - {t for tick in axis._update_ticks() for t in (tick.label1, tick.label2)}
        if not axes.get_visible():
            unseen |= set(axes.findobj(Text))
    return [
        (text.get_text(), text.get_window_extent(renderer))
        for text in dict.fromkeys(figure.findobj(Text))
        if text not in unseen and text.get_visible() and text.get_text().strip()
    ]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that cover each other by more than a pixel."""
    boxes = [(words, box.padded(-1.0)) for words, box in texts(figure)]
    return [
        (a, b)
        for (a, one), (b, two) in combinations(boxes, 2)
        if one.width > 0 and two.width > 0 and one.overlaps(two)
    ]

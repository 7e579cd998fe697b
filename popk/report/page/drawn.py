"""The figures of a page: those that can be pointed at, and static ones for paper or no script."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from popk.report.page.blocks import Figure, Figures, Static

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered
    from popk.report.charts import Chart

NUMBER = re.compile(r"-?\d+\.\d{3,}")
PATHS = re.compile(r'\b(d|x|y|points|transform|width|height)="[^"]*"')
UNSEEN = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE.*?>", re.DOTALL)
BETWEEN = re.compile(r">\s+<")
KEPT = " '()*,;:/=!?@$-_.~+"

TOLD = {
    "predictions": "Observations against population and individual predictions",
    "residuals": "IWRES and NPDE against time, time after dose and PRED",
    "npde": "Distribution of NPDE: histogram and quantiles",
    "vpc": "Visual predictive check",
    "pcvpc": "Prediction-corrected visual predictive check",
    "limits": "Fractions of observations beyond the assay's limits, over time",
    "etas": "Etas against covariates",
    "outliers": "How far out each subject lies, and how much the fit hangs on it",
    "sample_figures": "Css and CL of the sample among those of simulated samples",
    "prior_sensitivity": "Sensitivity of each parameter to priors and likelihood",
    "sampling_times": "What a further sample would teach, by its time",
    "covariates": "Covariate effects: ratios with 90 and 95 % intervals",
    "bayes_factors": "Evidence against an effect, by the width of its prior",
    "simulation/profiles": "Simulated concentrations over time",
    "simulation/medians": "Median concentration by regimen",
    "simulation/css_by_age": "Css by age",
    "simulation/exposure": "Exposure by regimen",
    "target/attainment": "Probability that Css lies in the window, by dose",
    "design/times": "What one further sample tells, by its time",
}
"""Static figures by name, in words."""


@dataclass(frozen=True)
class Drawn:
    """All figures of a report, by the place where they belong."""

    charts: Mapping[str, tuple[Figure, ...]]
    statics: Mapping[str, Static]

    def block(
        self, caption: str, *, charts: Iterable[Figure] = (), statics: Iterable[str] = (),
        pages: int = 0, name: str = "",
    ) -> tuple[Figures, ...]:  # fmt: skip
        """One block of figures, or none where there is none of them."""
        own = tuple(charts)
        held = tuple(self.statics[s] for s in statics if s in self.statics)
        return (Figures(caption, own, held, pages, name),) if own or held else ()

    def of(self, section: str, *starts: str) -> tuple[Figure, ...]:
        """A section's charts; of several kinds in it those whose names begin so."""
        return tuple(c for c in self.charts.get(section, ())
                     if not starts or c.name.startswith(starts))  # fmt: skip

    def named(self, start: str) -> tuple[str, ...]:
        """Names of the static figures that begin so."""
        return tuple(name for name in self.statics if name.startswith(start))


def drawn(of: "Gathered", charts: "Iterable[Chart]") -> Drawn:
    """What there is to be seen of a fit."""
    sections: dict[str, list[Figure]] = {}
    for chart in charts:
        figure = Figure(chart.name, chart.title, chart.description, chart.spec, chart.narrow)
        sections.setdefault(chart.section, []).append(figure)
    statics = {name: static(name, svg) for name, svg in of.figures.items()}
    return Drawn({name: tuple(own) for name, own in sections.items()}, statics)


def static(name: str, svg: str) -> Static:
    """A static figure as the address of an image: nothing in it can clash with the page."""
    told = TOLD.get(name)
    if told is None:
        told = name.replace("/", ", ").replace("_", " ")
        told = told.replace("individuals", "Individual fits, page")
    return Static(name, told, "data:image/svg+xml," + quote(slim(svg), safe=KEPT))


def slim(svg: str) -> str:
    """An SVG without what is not seen: metadata, and decimals below a hundredth of a point."""
    text = UNSEEN.sub("", svg)
    text = PATHS.sub(lambda found: NUMBER.sub(_rounded, found.group()), text)
    return BETWEEN.sub("><", text).replace("\n", " ").strip()


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found.group()):.2f}".rstrip("0").rstrip(".")

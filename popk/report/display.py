"""How `Dataset`, `Model`, `Fit` and `MaximumFit` look in a notebook. Computes nothing.

The records stand on lower floors and know nothing of HTML: `popk/__init__.py` tells a running
IPython that this module shows them. All that comes from a file is escaped.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from popk.analysis import summary
from popk.data.dataset import Dataset
from popk.data.overview import overview
from popk.population.model import Model
from popk.report.numbers import between, number, percent, spread, unit
from popk.spec.model import Parameter
from popk.spec.priors import Prior
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

if TYPE_CHECKING:
    import pandas as pd

    from popk.data.overview import CovariateOverview

SYNTHETIC = "SYNTHETIC DATA: simulated, no row describes a real patient"
RED, AMBER, GREEN = "#c62828", "#b26a00", "#2e7d32"
"""Of frames only: the text keeps the notebook's own colour, light or dark."""


def html(record: "Dataset | Model | Fit | MaximumFit") -> str:
    """A record as a fragment of HTML."""
    match record:
        case Dataset():
            return _dataset(record)
        case Model():
            return _model(record)
        case _:
            return _fit(record)


def _dataset(data: Dataset) -> str:
    found = overview(data)
    facts = {
        "subjects": f"{found.subjects}",
        "rows": f"{found.records}: {found.dose_records} doses ({found.boluses} boluses, "
        f"{found.infusions} infusions), {found.observations} observations",
        "censored": f"{found.below} below a limit, {found.above} above, {found.interval} between",
        "times": f"{spread(found.time)} {found.time_unit or ''}",
        "measured DV": "none"
        if found.dv is None
        else f"{spread(found.dv)} {found.concentration_unit or ''}",
        "columns not used": ", ".join(found.ignored) or "none",
    }
    parts = [
        _title("Dataset", found.source),
        _table(("", ""), facts.items()),
        _table(
            ("covariate", "unit", "baseline: median (range) or counts", "note"),
            [_covariate(own) for own in found.covariates],
        ),
    ]
    parts += [_frame(AMBER, f"warning: {text}") for text in found.warnings[:5]]
    return _whole(parts, "next: popk.fit(popk.load_model(...), data)")


def _covariate(own: "CovariateOverview") -> tuple[str, ...]:
    values = (
        ", ".join(f"{level}: {n}" for level, n in own.counts.items())
        if own.baseline is None
        else spread(own.baseline)
    )
    note = ["changes over time"] * own.varies
    note += [] if own.derived is None else [f"derived: {own.derived}"]
    note += [f"{own.missing} missing"] * bool(own.missing)
    return own.name, own.unit or "", values, "; ".join(note)


def _model(model: Model) -> str:
    spec = model.spec
    units = spec.units
    rows = [(name, *_parameter(own)) for name, own in spec.parameters.items()]
    effects = [(e.name, f"{e.relation} {e.covariate} on {e.parameter}") for e in spec.covariates]
    parts = [
        _title("Model", spec.name),
        _table(
            ("", ""),
            {
                "structure": spec.structure,
                "units": f"{units.time}, {units.amount}, {unit(units.concentration)}",
                "residual error": spec.residual.error,
                "estimated": ", ".join((*model.population_names, *model.correlation_names)),
            }.items(),
        ),
        _table(("parameter", "unit", "scaled by", "typical", "between subjects"), rows),
        _table(("effect", "relation"), effects),
    ]
    return _whole(parts, "next: popk.fit(model, popk.read_data(...))")


def _parameter(own: Parameter) -> tuple[str, ...]:
    scales = [f"({s.covariate} / {s.reference})^{s.exponent:g}" for s in own.scales]
    variability = own.variability
    spread_of = "none" if variability is None else (
        f"{variability.distribution}, SD {_prior(variability.sd)}"
    )  # fmt: skip
    return own.unit, " × ".join(scales), _prior(own.typical), spread_of


def _prior(prior: Prior) -> str:
    values = prior.model_dump(exclude={"prior"}).values()
    return f"{prior.prior}({', '.join(f'{v:g}' for v in values)})"


def _fit(fit: Fit | MaximumFit) -> str:
    failed = [check for check in fit.checks if not check.passed]
    said = [f"{c.name} {number(c.value)} ({c.threshold}, {c.worst}): {c.meaning}" for c in failed]
    parts = [
        _frame(RED, "NOT CONVERGED: do not use these numbers.", *said)
        if failed
        else _frame(GREEN, f"converged: all {len(fit.checks)} checks passed")
    ]
    if fit.synthetic:
        parts.append(_frame(AMBER, SYNTHETIC))
    method = fit.provenance.method.get("name", "")
    about = f"{fit.data.subjects} subjects, {fit.data.observations} observations; {method}"
    parts += [
        _title(type(fit).__name__, fit.name or fit.model.spec.name),
        _line(f"{fit.model.spec.name}; {about}, seed {fit.provenance.seed}"),
        _population(summary.parameters(fit)),
    ]
    objective = summary.objective(fit)
    if objective:
        parts.append(_line(f"OFV {objective['OFV']:.3f}, AIC {objective['AIC']:.2f}"))
    line = summary.paper_line(fit)
    if line is not None:
        parts.append(_line(str(line)))
    calls = "popk.individuals(fit), popk.observations(fit), popk.checks(fit)"
    return _whole(parts, "look at fit.checks first" if failed else f"next: {calls}")


def _population(table: "pd.DataFrame") -> str:
    posterior = "median" in table
    middle, quality = ("median", "rhat") if posterior else ("estimate", "rse_percent")
    heads = ("parameter", "unit", middle, "90 % interval", "CV %", "shrinkage",
             "R-hat" if posterior else "RSE %", "note")  # fmt: skip
    rows = [
        (
            str(name),
            unit(str(row["unit"])),
            number(row[middle]),
            between(row["q5"], row["q95"], 4),
            number(row["cv_percent"], 3),
            percent(row["shrinkage"]),
            f"{row[quality]:.4f}" if posterior else number(row[quality], 3),
            str(row["note"]),
        )
        for name, row in table.iterrows()
    ]
    return _table(heads, rows)


def _whole(parts: Iterable[str], after: str) -> str:
    return f'<div class="popk">{"".join(parts)}{_line(after)}</div>'


def _title(kind: str, name: str) -> str:
    return f"<p><strong>{escape(kind)}</strong> {escape(name)}</p>"


def _line(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _frame(colour: str, *lines: str) -> str:
    own = "<br>".join(escape(line) for line in lines)
    return f'<p style="border-left:4px solid {colour};padding-left:8px"><strong>{own}</strong></p>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing where there are no rows."""
    rows = list(rows)
    if not rows:
        return ""
    head = "".join(f'<th style="text-align:left">{escape(own)}</th>' for own in heads)
    head = f"<thead><tr>{head}</tr></thead>" if any(heads) else ""
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{escape(c)}</td>' for c in row) + "</tr>"
        for row in rows
    )
    return f"<table>{head}<tbody>{body}</tbody></table>"

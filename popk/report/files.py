"""The text files of results/ beside a fit's own: tables as CSV, models as fit folders."""

from typing import TYPE_CHECKING

from popk.analysis import summary
from popk.study.folder import child

if TYPE_CHECKING:
    from popk.analysis.covariates.covariate_tests import CovariateTests
    from popk.analysis.covariates.search import Search
    from popk.study.fit import Fit
    from popk.study.folder import Study
    from popk.study.maximum import MaximumFit


def of_fit(result: "Fit | MaximumFit") -> dict[str, str]:
    """The tables of a fit."""
    note = "# SYNTHETIC DATA\n" if result.synthetic else ""
    individuals = summary.individuals(result)
    units = ", ".join(f"{name} {unit}" for name, unit in individuals.attrs["units"].items())
    return {
        "parameters.csv": note + summary.parameters(result).to_csv(),
        "individuals.csv": f"{note}# median, 5 % and 95 % quantile; {units}\n"
        + individuals.to_csv(),
    }


def of_covariates(found: "CovariateTests", study: "Study") -> dict[str, str]:
    """The tables, and a fit folder for each model."""
    note = "# SYNTHETIC DATA\n" if found.synthetic else ""
    joint = found.joint.add_prefix("joint_")
    head = f"{note}# {found.rule}\n" + "".join(f"# note: {text}\n" for text in found.notes)
    files = {"covariates.csv": head + found.table.join(joint).to_csv()}
    curves = [
        curve.assign(candidate=name).set_index("candidate").to_csv(header=i == 0)
        for i, (name, curve) in enumerate(found.curves.items())
    ]
    if curves:
        files["bayes_factors.csv"] = note + "".join(curves)
    for name, spec in found.specs.items():
        for file, text in child(study, spec, depth=3).items():
            files[f"candidates/{name}/{file}"] = text
    return files


def of_search(found: "Search", study: "Study") -> dict[str, str]:
    """Tables, and a fit folder each for the final and the full model."""
    note = "# SYNTHETIC DATA\n" if found.synthetic else ""
    files = {
        "search.csv": note + found.tried.to_csv(index=False),
        "search_effects.csv": note + found.effects.to_csv(),
    }
    for name, spec in (("final", found.final), ("full", found.full)):
        for file, text in child(study, spec, depth=3).items():
            files[f"search/{name}/{file}"] = text
    return files

"""Ready fit folders to begin with: the two studies that popk ships, and a commented template.

The studies have one home, fits/ and models/ of the repository. An installed package holds the same
two folders under popk/examples/ (see pyproject.toml).
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from popk.data.nonmem.columns import nearest
from popk.spec.problem import PopkError, Problem

EXAMPLES: Mapping[str, str] = {
    "blinatumomab-infants": "SYNTHETIC: 26 infants, infusions over 28 days, censored samples",
    "phenobarb-neonates": "real: 59 preterm neonates, bolus doses (Grasela & Donn 1985)",
}
"""Name to what it is."""
DATA = "data.csv"
MODEL = "model.toml"


def example(name: str) -> dict[str, bytes]:
    """The files of a fit folder that holds one of the studies, complete in itself.

    Parameters
    ----------
    name
        One of `EXAMPLES`.

    Returns
    -------
    dict
        File name to content: fit.toml, model.toml, data.csv, and what else the study has.

    Raises
    ------
    PopkError
        If there is no such study.
    """
    if name not in EXAMPLES:
        near = nearest(name, EXAMPLES) or next(iter(EXAMPLES))
        raise PopkError(
            Problem(
                file="command line",
                key="--example",
                found=repr(name),
                expected=f"one of {', '.join(EXAMPLES)}",
                cure=f"write --example {near}",
            )
        )
    folder = _home() / "fits" / name
    fit = (folder / "fit.toml").read_text(encoding="utf-8")
    model, data = (_value(fit, key) for key in ("model", "data"))
    for key, own in (("model", MODEL), ("data", DATA)):
        fit = re.sub(rf'(?m)^{key} = ".*"', f'{key} = "{own}"', fit)
    found = {
        "fit.toml": fit.encode(),
        MODEL: (_home() / "models" / Path(model).name).read_bytes(),
        DATA: (folder / data).read_bytes(),
    }
    if (folder / "patient.toml").is_file():
        found["patient.toml"] = (folder / "patient.toml").read_bytes()
    return found


def template() -> dict[str, bytes]:
    """A commented fit folder with a few SYNTHETIC patients, to put one's own data into."""
    own = files("popk.data") / "template"
    return {name: (own / name).read_bytes() for name in ("fit.toml", MODEL, DATA)}


def _home() -> Traversable:
    """Where fits/ and models/ lie: in the installed package, or beside the package."""
    package = files("popk")
    installed = package / "examples"
    if installed.is_dir():
        return installed
    return Path(str(package)).parent


def _value(toml: str, key: str) -> str:
    found = re.search(rf'(?m)^{key} = "(.*)"', toml)
    assert found is not None
    return found[1]

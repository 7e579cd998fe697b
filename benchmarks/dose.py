"""Seconds of one new infant's dose, call by call in one process.

``popk fit fits/blinatumomab-infants`` first, then ``python -m benchmarks.dose``. The first call
loads or compiles its programs; imports and reading the fit are not timed.
"""

import time

from benchmarks.batch import ROOT
from popk.analysis.dosing.patient import patient_dose
from popk.spec.patient import read_patient
from popk.study.compiled import keep_compiled
from popk.study.fit import Fit
from popk.study.folder import load, open_study

FOLDER = ROOT / "fits" / "blinatumomab-infants"
CALLS = 4


def main() -> None:
    """Time some calls for the infant of the fit's patient.toml (SYNTHETIC)."""
    keep_compiled()
    fit, patient = load(open_study(FOLDER)), read_patient(FOLDER / "patient.toml")
    assert isinstance(fit, Fit)
    for call in range(1, CALLS + 1):
        begun = time.perf_counter()
        patient_dose(fit, patient)
        print(f"call {call}: {time.perf_counter() - begun:.3f} s")


if __name__ == "__main__":
    main()

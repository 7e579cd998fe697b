import json

import pytest

from popk.data.overview import Span, overview

MIXED = """
ID,TIME,AMT,RATE,DV,EVID,ADDL,II,CENS,LIMIT,WT,HT,SEX,NOTE
1,0,100,10,.,1,2,24,0,.,5,60,F,x
1,1,0,0,8,0,0,0,0,.,5,60,F,x
1,2,0,0,1,0,0,0,1,.,5,60,F,x
1,3,0,0,9,0,0,0,-1,.,5,60,F,x
1,4,0,0,4,0,0,0,1,2,5,60,F,x
2,0,100,0,.,4,0,0,0,.,7,65,M,x
2,48,0,0,2,0,0,0,0,.,9,65,M,x
3,0,50,0,.,1,0,0,0,.,6,62,M,x
"""
SPEC = {
    "columns": {
        "TIME": {"unit": "h"},
        "AMT": {"unit": "mg"},
        "DV": {"unit": "mg/L"},
        "WT": {"covariate": True, "unit": "kg"},
        "HT": {"covariate": True, "unit": "cm"},
        "SEX": {"covariate": True, "levels": ["F", "M", "other"]},
    },
    "derived": {"BSA": {"formula": "haycock"}},
}


def test_counts(read):
    found = overview(read(MIXED, **SPEC))
    assert (found.subjects, found.records) == (3, 8)
    assert (found.dose_records, found.boluses, found.infusions, found.doses) == (3, 2, 1, 5)
    assert found.resets == 1
    assert (found.observations, found.below, found.above, found.interval) == (5, 1, 1, 1)
    assert found.observations_per_subject == Span(0, 1, 4)
    assert found.ignored == ("NOTE",)
    assert len(found.warnings) == 1
    assert "no observation for ID 3" in found.warnings[0]


def test_ranges_and_units(read):
    found = overview(read(MIXED, **SPEC))
    assert found.time == Span(0, 1.5, 48)
    assert found.dv == Span(2, 5, 8)
    assert (found.time_unit, found.amount_unit, found.concentration_unit) == ("h", "mg", "mg/L")
    assert found.interpolation == "nocb"


def test_covariates(read):
    weight, height, sex, area = overview(read(MIXED, **SPEC)).covariates
    assert (weight.name, weight.unit, weight.baseline) == ("WT", "kg", Span(5, 6, 7))
    assert weight.varies
    assert not height.varies
    assert (weight.missing, weight.derived) == (0, None)
    assert (sex.baseline, sex.counts, sex.varies) == (None, {"F": 1, "M": 2, "other": 0}, False)
    assert (area.name, area.unit, area.derived) == ("BSA", "m^2", "haycock(WT, HT)")
    assert area.varies


def test_it_is_plain_enough_for_json(read):
    found = overview(read(MIXED, **SPEC)).as_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("units", [{}, {"unit": "day"}])
def test_constant_infusion_at_steady_state_counts_as_infusion(read, units):
    text = "ID,TIME,AMT,RATE,DV,SS\n1,0,0,5,.,1\n1,0,9,5,.,0\n1,1,0,0,2,0\n"
    found = overview(read(text, columns={"TIME": units} if units else {}))
    assert (found.boluses, found.infusions) == (0, 2)
    assert found.time_unit == units.get("unit")
    assert found.warnings == ()

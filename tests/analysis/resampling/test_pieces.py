"""Data sets with other subjects, fitted side by side: each is its own, whatever is beside it."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from popk.analysis.resampling.pieces import (
    METHODS,
    PIECE,
    STATISTICS,
    Piece,
    done,
    drawn,
    fingerprint,
    pieces_of,
)
from popk.data.dataset import of_subjects
from popk.data.nonmem.read import read_data
from popk.population.model import Model
from popk.spec.fit import DataSpec, Sampler
from popk.spec.model import ModelSpec
from popk.study.fit import fit

SPREAD = {"prior": "halfnormal", "scale": 0.5}
SPEC = ModelSpec.model_validate(
    {
        "name": "steady",
        "structure": "one_compartment",
        "units": {"time": "h", "amount": "ug", "concentration": "ug/L"},
        "parameters": {
            "CL": {
                "unit": "L/h",
                "typical": {"prior": "lognormal", "median": 1.0, "sigma": 1.0},
                "variability": {"distribution": "lognormal", "sd": SPREAD},
            },
            "V": {"unit": "L", "typical": {"prior": "fixed", "value": 3.0}},
        },
        "covariates": [
            {"parameter": "CL", "covariate": "AGE", "relation": "below", "cut": 6.0,
             "effect": {"prior": "normal", "loc": 0.0, "scale": 0.5}}
        ],
        "residual": {"error": "lognormal", "sd": SPREAD},
    }
)  # fmt: skip
MEAN = STATISTICS.index("mean")
SUBJECTS, DATA_SETS = 6, 10
SAMPLER = Sampler(draws=2000, precision="float64")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six subjects with two to four steady states each."""
    rng = np.random.default_rng(4)
    lines = ["ID,TIME,EVID,MDV,AMT,RATE,SS,II,DV,AGE"]
    for i in range(SUBJECTS):
        log_c = 0.3 * rng.standard_normal()
        for j in range(2 + i % 3):
            dv = np.exp(log_c + 0.2 * rng.standard_normal())
            who = 3 if i % 2 else 9
            lines.append(f"{i},{24 * j},1,1,0,1,1,0,.,{who}")
            lines.append(f"{i},{24 * j},0,0,0,0,0,0,{dv:.4f},{who}")
    path = tmp_path_factory.mktemp("pieces") / "data.csv"
    path.write_text("\n".join([*lines, ""]))
    return read_data(path, DataSpec.model_validate({"columns": {"AGE": {"covariate": True}}}))


@pytest.fixture(scope="module")
def subjects():
    found = np.random.default_rng(5).integers(0, SUBJECTS, (DATA_SETS, SUBJECTS))
    found[9] = found[0][::-1]  # the same ones, in another order
    return found


@pytest.fixture(scope="module")
def pieces(data, subjects):
    model = Model(SPEC)
    sets = drawn(model, data, np.concatenate([np.arange(SUBJECTS)[None], subjects]))
    whole = Piece(
        model=SPEC.model_dump_json(),
        data=data,
        sets=sets._replace(subjects=subjects),
        pilot=sets._replace(subjects=sets.subjects[:1]),
        first=0,
        wave=0,
        seed=1,
        settings=SAMPLER,
    )
    return pieces_of(whole)


@pytest.fixture(scope="module")
def results(pieces):
    """Of both pieces; and of some data sets of the first one, with none beside them."""
    around = pieces[0].sets._replace(subjects=pieces[0].sets.subjects[:3])
    with jax.enable_x64(True):
        return [done(piece) for piece in (*pieces, replace(pieces[0], sets=around))]


def test_work_is_shared_in_two_pieces_at_least(pieces):
    assert [(p.first, p.wave, len(p.sets.subjects)) for p in pieces] == [(0, 8, 8), (8, 8, 2)]
    assert fingerprint(pieces) == fingerprint(pieces)
    assert fingerprint(pieces) != fingerprint(pieces[::-1])
    assert PIECE == 64


def test_results_of_two_data_sets(pieces):
    """One at a time: then the sampler compiles one program, not three."""
    two = pieces[0].sets._replace(subjects=pieces[0].sets.subjects[[0, 0]])
    found = done(replace(pieces[0], sets=two, wave=1))
    assert found["passed"].all()
    sound(found, 2)
    # Of the same subjects, with other random numbers
    assert (found["values"][0] != found["values"][1]).all()
    moved = found["values"][0, :, MEAN] - found["values"][1, :, MEAN]
    assert (np.abs(moved) < 4 * np.hypot(*found["error"])).all()


def sound(found, count):
    """Shapes, and statistics that agree with each other."""
    assert found["values"].shape == (count, 4, len(STATISTICS))
    sd = np.sqrt(np.diagonal(found["covariance"], axis1=1, axis2=2))
    np.testing.assert_allclose(found["values"][..., STATISTICS.index("sd")], sd, rtol=1e-12)
    low, middle, high = (found["values"][..., STATISTICS.index(n)] for n in ("q5", "median", "q95"))
    assert ((low < middle) & (middle < high)).all()
    assert (found["error"] < 0.07 * sd).all()  # 400 effective draws at least
    assert set(found["verdict"].ravel()) <= {0, 1, 2}
    assert {METHODS[i] for i in found["method"]} <= {"ensemble", "alone", "nuts"}


@pytest.mark.slow
def test_every_data_set_has_its_result(results):
    whole = {name: np.concatenate([r[name] for r in results[:2]]) for name in results[0]}
    assert whole["passed"].all()
    sound(whole, DATA_SETS)
    # Two data sets of the same subjects, in different pieces, in another order
    moved = whole["values"][0, :, MEAN] - whole["values"][9, :, MEAN]
    error = np.hypot(whole["error"][0], whole["error"][9])
    assert (np.abs(moved) < 4 * error).all()
    # ... and data sets of others have other results
    others = np.abs(whole["values"][1:9, 0, MEAN] - whole["values"][0, 0, MEAN])
    assert (others > 6 * error[0]).any()


@pytest.mark.slow
def test_a_data_set_does_not_depend_on_those_beside_it(results):
    """The same numbers of the same piece, with others around them; the pilot is the same."""
    whole, _, some = results
    for name, values in some.items():
        np.testing.assert_allclose(values, whole[name][:3], rtol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_data_set_is_a_fit_of_its_subjects(data, subjects, results):
    whole = {name: np.concatenate([r[name] for r in results[:2]]) for name in results[0]}
    for number in (0, 3, 7):
        own = of_subjects(data, subjects[number])
        named = type(own)(**{**vars(own), "ids": tuple(map(str, range(SUBJECTS)))})
        found = fit(Model(SPEC), named, Sampler(ess=4000.0, draws=4000, seed=3))
        assert found.converged
        for j, name in enumerate(Model(SPEC).population_names):
            draws = found.samples.draws[name]
            error = draws.std() / np.sqrt(found.diagnostics.of(name)[1])
            difference = draws.mean() - whole["values"][number, j, MEAN]
            assert abs(difference) < 4 * np.hypot(error, whole["error"][number, j])

"""Charts: valid, drawn without a warning, and their numbers are the tables'."""

import json
import re

import altair as alt
import numpy as np
import pytest
import vl_convert
from altair.utils.schemapi import validate_jsonschema

from popk.report.charts import bundle, charts, static, style
from popk.report.charts.chart import plain
from popk.report.charts.theme import DARK, LIGHT, resolved
from tests.report.charts.conftest import IDS, NOTHING, made

LAYERED = {"$ref": "#/definitions/TopLevelLayerSpec"}


@pytest.fixture(scope="module")
def drawn(gathered):
    return {own.name: own for own in charts(gathered)}


def test_every_table_has_its_charts_in_the_order_of_the_data(drawn):
    names = list(drawn)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", name) for name in names)
    assert [drawn[f"individual-{i + 1}"].title for i in range(4)] == [f"ID {who}" for who in IDS]
    sections = dict.fromkeys(own.section for own in drawn.values())
    assert list(sections) == ["observations", "npde", "vpc", "individuals", "etas", "outliers",
                              "covariates", "sensitivity", "paper", "simulation",
                              "dose"]  # fmt: skip


def test_without_tables_there_are_no_charts_but_those_of_the_fit():
    bare = charts(made(**NOTHING, patients=()))
    assert [own.name for own in bare] == ["individual-cl", "individual-css"]


def test_each_is_valid_and_says_what_it_shows(drawn):
    schema = alt.load_schema()
    for own in drawn.values():
        # Raises where the schema does not hold; rows have none, and each would be looked at
        if own.name not in ("individual-2", "individual-3", "individual-4"):
            validate_jsonschema({**own.spec, "datasets": {}}, LAYERED, rootschema=schema)
        assert own.spec["width"] == "container"
        assert own.title in own.spec["description"]
        assert len(own.description) > 20
        assert own.spec["title"]["text"] == "SYNTHETIC DATA"
    real = charts(made(synthetic=False, **{k: None for k in NOTHING if k != "observations"},
                       patients=()))  # fmt: skip
    assert all("SYNTHETIC" not in json.dumps(own.spec) for own in real)


def test_each_is_drawn_without_a_warning(drawn, capfd):
    for own in drawn.values():
        text = static(own)
        assert text.startswith("<svg"), own.name
        assert "NaN" not in text, own.name
        assert "undefined" not in text, own.name
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err == ""


def test_names_of_the_data_stay_text(drawn):
    text = static(drawn["individual-cl"])
    assert "<script" not in text
    assert "&lt;script" in text
    assert drawn["individual-1"].spec["datasets"]["observations"][0]["ID"] == IDS[0]
    # In a page the JSON stands in a script element: the page writes < as an escape
    assert "<b>step</b>" in json.dumps(drawn["simulation-medians"].spec)


def test_numbers_are_those_of_the_tables(gathered, drawn):
    rows = drawn["predictions-pred"].spec["datasets"]["observations"]
    table = gathered.observations
    for column in ("TIME", "DV", "PRED", "IPRED"):
        held = [row[column] for row in rows]
        np.testing.assert_allclose(held, table[column], rtol=1e-5)
    censored = [row["kind"] != "measured" for row in rows]
    assert censored == table["censored"].tolist()
    for n, who in enumerate(gathered.individuals.index, start=1):
        data = drawn[f"individual-{n}"].spec["datasets"]
        own = table[table["ID"] == who]
        assert [row["DV"] for row in data["observations"]] == [plain(v) for v in own["DV"]]
        curve = gathered.profiles[gathered.profiles["ID"] == who]
        np.testing.assert_allclose([r["individual"] for r in data["profiles"]],
                                   curve["individual"], rtol=1e-5)  # fmt: skip
    quantiles = drawn["vpc"].spec["datasets"]["quantiles"]
    for column in ("observed", "low", "high", "time", "n"):
        np.testing.assert_allclose([r[column] for r in quantiles], gathered.vpc[column], rtol=1e-5)
    assert [r["where"] == "outside" for r in quantiles] == gathered.vpc["outside"].tolist()
    ratios = drawn["covariates"].spec["datasets"]["effects"]
    assert [r["ratio"] for r in ratios if r["how"] == "tested singly"] == [1.02, 2.02]
    css = {r["ID"]: r for r in drawn["individual-css"].spec["datasets"]["subjects"]}
    assert {who: r["median"] for who, r in css.items()} == {
        who: plain(v) for who, v in gathered.individuals["Css_nominal"].items()
    }
    medians = [r["median"] for r in css.values()]
    assert medians == sorted(medians, reverse=True)


def test_doses_repeat_last_and_end_as_the_data_say(drawn):
    infusion, boluses, endless, none = (
        drawn[f"individual-{i}"].spec["datasets"]["doses"] for i in (1, 2, 3, 4)
    )
    assert [(d["TIME"], d["end"], d["RATE"]) for d in infusion] == [(0.0, 480.0, 0.2)]
    assert [d["TIME"] for d in boluses] == [0.0, 24.0, 48.0]
    assert all(0 < d["end"] - d["TIME"] < 5 for d in boluses)
    assert [d["end"] for d in endless] == [660.0]
    assert none == []


def test_what_hovers_names_the_infant_the_time_and_the_value_with_units(drawn):
    for name, value in (("predictions-ipred", "DV (pg/mL)"), ("individual-1", "DV (pg/mL)"),
                        ("npde-time", "NPDE (SD)"), ("vpc", "DV (pg/mL)")):  # fmt: skip
        layers = drawn[name].spec["layer"]
        told = [t["title"] for layer in layers for t in layer["encoding"].get("tooltip", [])]
        assert {"ID", "time (h)", value} <= set(told), name


def test_axes_have_units(drawn):
    for name, x, y in (("predictions-pred", "PRED, population prediction (pg/mL)", "DV (pg/mL)"),
                       ("individual-2", "time (h)", "concentration (pg/mL)"),
                       ("simulation-1", "time (day)", "concentration (pg/mL)"),
                       ("target-1", "dose (µg/m²/day)", "probability"),
                       ("eta-CL-AGE-m-0-", "AGE.m[0] (month)",
                        "eta of CL (log scale)")):  # fmt: skip
        text = json.dumps(drawn[name].spec["layer"], ensure_ascii=False)
        assert f'"title": "{x}"' in text, name
        assert f'"title": "{y}"' in text, name


def test_kinds_differ_in_shape_and_not_in_colour_alone(drawn):
    for own in drawn.values():
        for layer in own.spec["layer"]:
            encoding = layer["encoding"]
            if layer["mark"]["type"] == "point" and "field" in encoding.get("color", {}):
                assert encoding["shape"]["field"] == encoding["color"]["field"], own.name
            if layer["mark"]["type"] == "line" and "field" in encoding.get("color", {}):
                assert encoding["strokeDash"]["field"] == encoding["color"]["field"], own.name


def test_colours_are_the_page_s_and_every_one_is_defined(drawn):
    css = style()
    for own in drawn.values():
        text = json.dumps(own.spec)
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b", text), own.name
        roles = set(re.findall(r"var\(--chart-(\w+)\)", text))
        assert roles <= set(LIGHT) == set(DARK)
        assert all(f"--chart-{role}:" in css for role in roles)
    assert ":root[data-theme=dark]" in css
    assert "prefers-color-scheme: dark" in css
    dark = json.dumps(resolved(drawn["vpc"].spec, dark=True))
    assert "var(" not in dark
    assert "currentColor" not in dark
    assert DARK["deep"] in dark


def test_logarithmic_axes_only_where_all_is_positive(drawn):
    scale = drawn["predictions-pred"].spec["layer"][1]["encoding"]["x"]["scale"]
    assert scale["type"] == "log"
    negative = made().observations
    negative.loc[0, "DV"] = -1.0
    own = next(iter(charts(made(**{**NOTHING, "observations": negative}, patients=()))))
    assert "type" not in own.spec["layer"][1]["encoding"]["x"]["scale"]


def test_the_script_is_small_asks_no_network_and_ends_no_element():
    text = bundle()
    assert 500_000 < len(text.encode()) < 1_500_000
    assert "</script" not in text.lower()
    assert not re.search(r"""(src|href)\s*=\s*["']https?://""", text)
    assert "vegaEmbed" in text
    # Its names are its own: nothing stands outside of the function
    assert text.startswith("(function(){")
    assert text.endswith("})();")
    # What the script draws is what the specifications are written for
    drawn_by, written_for = vl_convert.get_vegalite_versions(), alt.SCHEMA_VERSION.lstrip("v")
    assert written_for.split(".")[0] in {version.split(".")[0] for version in drawn_by}

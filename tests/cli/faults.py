"""Faults of a fit folder's files, each with what its cure says and what is done about it."""

from typing import NamedTuple

MODEL = """
name = "one compartment"
structure = "one_compartment"
[units]
time = "h"
amount = "ug"
concentration = "pg/mL"
[parameters.CL]
unit = "L/h"
scale = {covariate = "WT", reference = "1 kg", exponent = 1.0}
typical = {prior = "lognormal", median = 1.0, sigma = 1.0}
variability = {distribution = "lognormal", sd = {prior = "halfnormal", scale = 0.5}}
[parameters.V]
unit = "L"
typical = {prior = "uniform", low = 1.0, high = 9.0}
variability = {distribution = "lognormal", sd = {prior = "gamma", shape = 2.0, rate = 6.0}}
[[covariates]]
parameter = "CL"
covariate = "AGE"
relation = "below"
cut = "6 month"
effect = {prior = "normal", loc = 0.0, scale = 0.5}
[residual]
error = "lognormal"
sd = {prior = "halfnormal", scale = 0.5}
"""
FIT = """
model = "model.toml"
data = "data.csv"
delimiter = ","
interpolation = "nocb"
no_effect = [0.8, 1.25]
[columns]
TIME = {unit = "h"}
AMT = {unit = "ug"}
DV = {unit = "pg/mL"}
WT = {covariate = true, unit = "kg"}
AGE = {covariate = true, unit = "month"}
HT = {covariate = true, unit = "cm"}
SEX = {covariate = true, levels = ["f", "m"]}
NOTE = {ignore = true}
[derived]
BSA = {formula = "haycock"}
[dose]
nominal = "15 ug/m^2/day"
[assay]
lloq = "50 pg/mL"
[sampler]
method = "nuts"
draws = 100
target_accept = 0.9
precision = "float64"
"""
DATA = """\
ID,TIME,AMT,RATE,DV,EVID,MDV,CMT,SS,II,ADDL,WT,AGE,HT,SEX,NOTE
1,0,40,0.5,.,1,1,1,0,0,0,7,5,64,f,.
1,24,0,0,400,0,0,1,0,0,0,7,5,64,f,.
1,48,0,0,450,0,0,1,0,0,0,7,5,64,f,.
2,0,50,0.5,.,1,1,1,0,0,0,9,10,71,m,.
2,24,0,0,600,0,0,1,0,0,0,9,10,71,m,.
2,60,0,0,650,0,0,1,0,0,0,9,10,71,m,.
"""
GOOD = {"model": MODEL, "fit": FIT, "data": DATA}


class Case(NamedTuple):
    """How a file is broken, what the cure says, and what is done about it.

    `cure` is searched in the cure's text. In `after` its groups are filled in, {0} the first; what
    `after` says takes the place of `broken`.
    """

    file: str
    good: str
    broken: str
    cure: str
    after: str = "{0}"


SECOND_EFFECT = MODEL[MODEL.index("[[covariates]]") : MODEL.index("[residual]")]
FIRST = "1,0,40,0.5,.,1,1,1,0,0,0,7,5,64,f,."
SAMPLE = "1,24,0,0,400,0,0,1,0,0,0,7,5,64,f,."
NEAREST = r"did you mean '(.+)'\?"

CASES = {
    # --- spec: model files
    "key missing": Case(
        "model",
        'name = "one compartment"\n',
        "\n",
        "add (name) = ..., a text in quotes",
        '{0} = "x"\n',
    ),
    "unknown word": Case("model", '"one_compartment"', '"one_compartmnt"', NEAREST, '"{0}"'),
    "unknown key": Case("model", "exponent = 1.0", "exponant = 1.0", NEAREST, "{0} = 1.0"),
    "unknown prior": Case(
        "model", '{prior = "lognormal"', '{prior = "lognorm"', NEAREST, '{{prior = "{0}"'
    ),
    "unknown relation": Case("model", '"below"', '"blow"', NEAREST, '"{0}"'),
    "unknown unit": Case("model", 'time = "h"', 'time = "hx"', r"such as (\w+)", 'time = "{0}"'),
    "unit to be filled in": Case(
        "model", 'time = "h"', 'time = "?"', "such as (h),", 'time = "{0}"'
    ),
    "unit of something else": Case(
        "model", 'amount = "ug"', 'amount = "h"', r"such as (\S+)", 'amount = "{0}"'
    ),
    "unit of a parameter": Case(
        "model", 'unit = "L/h"', 'unit = "L"', r"such as (\S+)", 'unit = "{0}"'
    ),
    "two strokes": Case("model", 'unit = "L/h"', 'unit = "L//h"', r"write (\S+)", 'unit = "{0}"'),
    "number out of range": Case(
        "model", "median = 1.0", "median = -1.0", r"example (\S+)", "median = {0}"
    ),
    "number that is a word": Case(
        "model", "median = 1.0", 'median = "?"', r"example (\S+)", "median = {0}"
    ),
    "bounds exchanged": Case(
        "model", "low = 1.0, high = 9.0", "low = 9.0, high = 1.0", "example (low = .*)$"
    ),
    "typical value below 0": Case(
        "model",
        'typical = {prior = "uniform", low = 1.0, high = 9.0}',
        'typical = {prior = "uniform", low = -1.0, high = 9.0}',
        "example (typical = .*)$",
    ),
    "no degrees of freedom": Case(
        "model",
        '"lognormal", sd = {prior = "h',
        '"student_t", sd = {prior = "h',
        "add (df = 4)",
        '"student_t", {0}, sd = {{prior = "h',
    ),
    "SD below 0": Case(
        "model",
        'sd = {prior = "gamma", shape = 2.0, rate = 6.0}',
        'sd = {prior = "normal", loc = 0.0, scale = 1.0}',
        "example (sd = .*)$",
    ),
    "residual SD below 0": Case(
        "model",
        'sd = {prior = "halfnormal", scale = 0.5}\n',
        'sd = {prior = "normal", loc = 0.0, scale = 0.5}\n',
        r"example (\{.*\})$",
        "sd = {0}\n",
    ),
    "effect on nothing": Case(
        "model", 'parameter = "CL"', 'parameter = "KA"', 'write (parameter = "CL")'
    ),
    "effect twice": Case(
        "model", "[residual]", SECOND_EFFECT + "[residual]", "(delete) one of the two", "[residual]"
    ),
    "correlation of one": Case(
        "model",
        "[residual]",
        '[correlation]\nparameters = ["CL"]\n[residual]',
        "at least (2) entries",
        '[correlation]\nparameters = ["CL", "V"]\n[residual]',
    ),
    "correlation of kinds": Case(
        "model",
        "[residual]",
        '[correlation]\nparameters = ["CL", "KA"]\n[residual]',
        r"(take) KA out of \[correlation\]",
        "[residual]",
    ),
    "parameter of another structure": Case(
        "model",
        "[parameters.V]",
        "[parameters.Q]",
        r"the tables \[parameters.CL\], (\[parameters.V\])",
    ),
    "no TOML": Case(
        "model",
        'name = "one compartment"',
        "name = one compartment",
        "(strings) stand in quotes",
        'name = "one compartment"',
    ),
    # --- spec: fit files
    "misspelt table": Case("fit", "[sampler]", "[samplar]", NEAREST, "[{0}]"),
    "delimiter": Case(
        "fit", 'delimiter = ","', 'delimiter = "|"', r'use one of (","),', "delimiter = {0}"
    ),
    "two meanings": Case(
        "fit",
        "AGE = {covariate = true",
        'AGE = {item = "TIME", covariate = true',
        "(keep) one of covariate",
        "AGE = {{covariate = true",
    ),
    "levels of no covariate": Case(
        "fit", "SEX = {covariate = true, ", "SEX = {", "add (covariate = true)", "SEX = {{{0}, "
    ),
    "dose that is no rate": Case(
        "fit", 'nominal = "15 ug/m^2/day"', 'nominal = "15 ug"', "example (nominal = .*)$"
    ),
    "limit that is no quantity": Case(
        "fit", 'lloq = "50 pg/mL"', 'lloq = "low"', r'or ("50 pg/mL")', "lloq = {0}"
    ),
    "share out of range": Case(
        "fit", "target_accept = 0.9", "target_accept = 1.5", r"example (\S+)", "target_accept = {0}"
    ),
    "no whole number": Case("fit", "draws = 100", "draws = 10.5", r"example (\S+)", "draws = {0}"),
    "range without 1": Case(
        "fit", "no_effect = [0.8, 1.25]", "no_effect = [1.1, 1.25]", r"write (no_effect = \[.*\])"
    ),
    "likelihood in float32": Case(
        "fit",
        'method = "nuts"\ndraws = 100\ntarget_accept = 0.9\nprecision = "float64"',
        'method = "focei"\nprecision = "float32"',
        '(precision = "float64")',
        'method = "focei"\n{0}',
    ),
    "no such file": Case(
        "fit", 'data = "data.csv"', 'data = "date.csv"', "(check the path)", 'data = "data.csv"'
    ),
    # --- data
    "column that is not there": Case("fit", "WT = {", "WTT = {", NEAREST, "{0} = {{"),
    "column without a meaning": Case(
        "fit", "NOTE = {ignore = true}", 'NOTE = {unit = "kg"}', "(ignore = true)", "NOTE = {{{0}}}"
    ),
    "time in another case": Case("data", "ID,TIME", "ID,Time", r"(Time) = \{item", "ID,TIME"),
    "item not named": Case(
        "fit",
        '[columns]\nTIME = {unit = "h"}',
        "[columns]\nHT2 = {ignore = true}",
        NEAREST,
        '[columns]\nTIME = {{unit = "h"}}',
    ),
    "II in kg": Case(
        "fit",
        "NOTE = {ignore = true}",
        'NOTE = {ignore = true}\nII = {unit = "kg"}',
        r"such as (\S+)",
        'NOTE = {{ignore = true}}\nII = {{unit = "{0}"}}',
    ),
    "time in kg": Case(
        "fit",
        'TIME = {unit = "h"}',
        'TIME = {unit = "kg"}',
        r"such as (\S+)",
        'TIME = {{unit = "{0}"}}',
    ),
    "unit of a flag": Case(
        "fit",
        "NOTE = {ignore = true}",
        'NOTE = {ignore = true}\nADDL = {unit = "h"}',
        "(delete) the unit",
        "NOTE = {{ignore = true}}",
    ),
    "semicolons": Case("fit", 'delimiter = ","', 'delimiter = ";"', 'write (delimiter = ",")'),
    "negative dose": Case("data", FIRST, FIRST.replace(",40,", ",-40,"), "(sign)", FIRST),
    "missing dose": Case(
        "data", FIRST, FIRST.replace(",40,0.5", ",.,0.5"), "write (the amount)", FIRST
    ),
    "NA": Case(
        "data",
        SAMPLE,
        SAMPLE.replace("7,5,64,f,.", "7,NA,64,f,."),
        "baseline|'\\.'|(missing)",
        SAMPLE,
    ),
    "no concentration": Case(
        "data",
        SAMPLE,
        SAMPLE.replace(",400,0,0,", ",.,0,0,"),
        r"(MDV = 1) if there is none",
        SAMPLE.replace(",400,0,0,", ",.,0,1,"),
    ),
    "MDV of a dose": Case(
        "data",
        FIRST,
        FIRST.replace(".,1,1,", ".,1,0,"),
        "set MDV to (1)",
        FIRST.replace(".,1,1,", ".,1,{0},"),
    ),
    "EVID 7": Case("data", FIRST, FIRST.replace(".,1,1,", ".,7,1,"), "(correct it)", FIRST),
    "CMT 2": Case(
        "data",
        FIRST,
        FIRST.replace("1,1,1,0", "1,1,2,0"),
        "set CMT to (1)",
        FIRST.replace("1,1,1,0", "1,1,{0},0"),
    ),
    "dose without end": Case(
        "data",
        FIRST,
        FIRST.replace(",40,0.5", ",0,0.5"),
        "SS to (1)",
        FIRST.replace(",40,0.5", ",0,0.5").replace("1,1,1,0,0", "1,1,1,{0},0"),
    ),
    "modelled rate": Case("data", FIRST, FIRST.replace(",0.5,", ",-1,"), "(write|give) ", FIRST),
    "item on a sample": Case(
        "data", SAMPLE, SAMPLE.replace("0,0,1,0,0,0", "0,0,1,99,0,0"), "(clear) the item", SAMPLE
    ),
    "time going back": Case("data", "1,48,0", "1,4,0", "(sort) the rows by time", "1,48,0"),
    "unknown level": Case("data", SAMPLE, SAMPLE.replace(",f,", ",w,"), "(levels)", SAMPLE),
    "ragged row": Case("data", SAMPLE, SAMPLE + ",9", "(extra) delimiter", SAMPLE),
    "clock time": Case("data", "1,24,0", "1,8:30,0", "write (elapsed hours)", "1,24,0"),
    "limit sign": Case(
        "data", SAMPLE, SAMPLE.replace(",400,", ",<50,"), "DV and 1 .*(CENS)", SAMPLE
    ),
    "subject without a dose": Case("data", FIRST + "\n", "", "(add the dose rows)", FIRST + "\n"),
    "no weight": Case("data", SAMPLE, SAMPLE.replace("0,7,5", "0,.,5"), "(baseline|value)", SAMPLE),
    "weight of nobody": Case("data", ",9,10,71", ",0,10,71", "(correct) the cell", ",9,10,71"),
    # --- population and study
    "covariate not declared": Case(
        "fit",
        'AGE = {covariate = true, unit = "month"}\n',
        "",
        r"\[columns\] (AGE = \{covariate = true)\}",
        '{0}, unit = "month"}}\n',
    ),
    "covariate without a unit": Case(
        "fit",
        'AGE = {covariate = true, unit = "month"}',
        "AGE = {covariate = true}",
        r"\[columns\] (AGE = \{covariate = true, unit = )",
        '{0}"month"}}',
    ),
    "dose per area, no area": Case(
        "fit",
        'BSA = {formula = "haycock"}',
        "",
        r"declare (BSA) in \[columns\] or \[derived\]",
        '{0} = {{formula = "haycock"}}',
    ),
    "amount of another dimension": Case(
        "fit",
        'AMT = {unit = "ug"}',
        'AMT = {unit = "umol"}',
        "(correct one of the two units)",
        'AMT = {{unit = "ug"}}',
    ),
    "measured before any dose": Case(
        "data",
        FIRST,
        SAMPLE.replace("1,24,", "1,-1,") + "\n" + FIRST,
        "set (MDV) to 1",
        SAMPLE.replace("1,24,", "1,-1,").replace(",400,0,0,", ",400,0,1,") + "\n" + FIRST,
    ),
    "logarithm of nothing": Case(
        "data", SAMPLE, SAMPLE.replace(",400,", ",0,"), "another (residual error)", SAMPLE
    ),
}

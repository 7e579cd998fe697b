"""What parameters and quantities are called in words."""

from popk.report.numbers import unit
from popk.spec.model import ModelSpec

STRUCTURAL = {"CL": "clearance", "V": "volume of distribution"}
QUANTITIES = {
    "CL": "CL",
    "V": "V",
    "CL_scaled": "CL, scaled",
    "V_scaled": "V, scaled",
    "half_life": "half-life",
    "Css_actual": "Css at own rate",
    "Css_nominal": "Css at nominal dose",
}
RESIDUAL = {
    "sigma": "residual error",
    "sigma_additive": "residual error, additive part",
    "sigma_proportional": "residual error, proportional part",
}


def meaning(name: str, model: ModelSpec) -> str:
    """What a population parameter is, in words; empty where there are none for it."""
    if name in RESIDUAL:
        return RESIDUAL[name]
    if name.startswith("TV"):
        return f"typical {STRUCTURAL.get(name[2:], name[2:])}"
    if name.startswith("omega_"):
        return f"between subjects, {name[6:]}"
    if name.startswith("correlation_"):
        return "correlation of " + " and ".join(name.removeprefix("correlation_").split("_"))
    if name.startswith("df_"):
        return f"degrees of freedom, {name[3:]}"
    for effect in model.covariates:
        if name == effect.name or name.startswith(f"{effect.name}_"):
            return f"effect of {effect.covariate} on {effect.parameter}"
    return ""


def quantity(name: str) -> str:
    """What an individual quantity is called."""
    return QUANTITIES.get(name, name.replace("_", " "))


def measured(text: str) -> str:
    """A unit as it is read; nothing where there is none."""
    return unit(text or "")


def joined(parts: "list[str] | tuple[str, ...]") -> str:
    """Words with commas, and an "and" before the last."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def capital(text: str) -> str:
    """A sentence from its first letter on; the rest stays."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """With a full stop where there is none."""
    return text if not text or text[-1] in ".!?" else f"{text}."

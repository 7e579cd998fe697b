"""Stan's NUTS by PyStan. Variants: ``noncentred``, ``centred``.

PyStan takes draws through a local HTTP server as JSON, which costs more than the sampling of a
small model; the chains' own seconds are in the record too.
"""

# pyright: reportMissingImports=false

import dataclasses
import re
from typing import Any

import numpy as np
import stan
from common import (
    INDIVIDUAL,
    LEAST_LOG_CONCENTRATION,
    POPULATION,
    Posterior,
    Run,
    Sample,
    Settings,
    main,
)

PROGRAM = """
data {
  int<lower=1> N;  // subjects
  int<lower=1> M;  // rows
  array[M] int<lower=1, upper=N> subject;
  vector[M] since;
  vector[M] dv;
  int<lower=0> P;  // measured rows
  array[P] int measured;
  int<lower=0> C;  // censored rows
  array[C] int censored;
  vector[C] sign;
  vector[C] bound;
  int<lower=0> I;  // places of infusions, each for so many of the first rows
  array[I] int count;
  array[I] vector[M] rate;
  array[I] vector[M] ran;
  array[I] vector[M] ended;
  int<lower=0, upper=1> any_bolus;
  vector[M] newest;  // bolus
  int<lower=0> B;  // other boluses, in the order of their rows
  vector[B] bolus;
  vector[B] bolus_ended;
  array[B] int bolus_row;
  array[B] int bolus_column;  // 1 to B
  array[M + 1] int bolus_start;
  vector[N] log_size_CL;
  vector[N] log_size_V;
  vector[N] on_CL;
  vector[N] on_V;
  real log_per_liter;
  int<lower=0, upper=1> lognormal_error;
  real least;
  real TVCL_median;
  real TVCL_sigma;
  real TVV_median;
  real TVV_sigma;
  real effect_sd;
  real omega_CL_scale;
  real omega_V_scale;
  real sigma_scale;
}
transformed data {
  vector[P] log_dv = log(dv[measured]);
  vector[C] log_bound = log(bound);
  // Negated here: a minus before a parameter costs a node of the tape for each element
  array[I] vector[M] minus_rate;
  array[I] vector[M] minus_ran;
  array[I] vector[M] minus_ended;
  for (i in 1:I) {
    minus_rate[i] = -rate[i];
    minus_ran[i] = -ran[i];
    minus_ended[i] = -ended[i];
  }
  vector[B] minus_bolus_ended = -bolus_ended;
  vector[M] minus_since = -since;
}
parameters {
  real<lower=0> TVCL;
  real<lower=0> TVV;
  real effect;
  real<lower=0> omega_CL;
  real<lower=0> omega_V;
  real<lower=0> sigma;
  vector[N] x_CL;
  vector[N] x_V;
}
model {
  TVCL ~ lognormal(log(TVCL_median), TVCL_sigma);
  TVV ~ lognormal(log(TVV_median), TVV_sigma);
  effect ~ normal(0, effect_sd);
  omega_CL ~ normal(0, omega_CL_scale);
  omega_V ~ normal(0, omega_V_scale);
  sigma ~ normal(0, sigma_scale);
  x_CL ~ PRIOR_CL;
  x_V ~ PRIOR_V;
  vector[N] log_CL = log_size_CL + THETA_CL;
  vector[N] log_V = log_size_V + THETA_V;
  vector[M] k = exp(log_CL - log_V)[subject];
  vector[M] amount = rep_vector(0, M);
  for (i in 1:I) {
    int n = count[i];
    vector[n] some = k[1:n];
    vector[n] left = minus_rate[i][1:n] .* expm1(some .* minus_ran[i][1:n]);
    if (max(ended[i]) > 0) left = left .* exp(some .* minus_ended[i][1:n]);
    amount[1:n] += left;
  }
  if (I > 0) amount = amount ./ k;
  if (any_bolus) {
    amount += newest;
    if (B > 0)
      amount += csr_matrix_times_vector(M, B, bolus, bolus_column, bolus_start,
                                        exp(k[bolus_row] .* minus_bolus_ended));
  }
  vector[M] log_c = log(amount) + k .* minus_since - log_V[subject] + log_per_liter;
  if (lognormal_error) {
    log_dv ~ normal(log_c[measured], sigma);
    if (C > 0) target += std_normal_lcdf(sign .* (log_bound - log_c[censored]) / sigma);
  } else {
    vector[M] c = exp(fmax(log_c, least));
    dv ~ normal(c, sigma * c);
  }
}
generated quantities {
  vector[N] CL = exp(log_size_CL + THETA_CL);
  vector[N] V = exp(log_size_V + THETA_V);
}
"""


def program(centred: bool) -> str:
    """The program in one of its two forms."""
    text = PROGRAM
    for name in INDIVIDUAL:
        prior = f"normal(log(TV{name}) + effect * on_{name}, omega_{name})"
        theta = f"log(TV{name}) + effect * on_{name} + omega_{name} * x_{name}"
        text = text.replace(f"THETA_{name}", f"x_{name}" if centred else theta)
        text = text.replace(f"PRIOR_{name}", prior if centred else "std_normal()")
    return text


def data(posterior: Posterior) -> dict[str, Any]:
    """The data block; indices from 1."""
    p, priors = posterior, posterior.priors

    def padded(values: np.ndarray) -> list[float]:
        return np.pad(values, (0, p.rows - len(values))).tolist()

    row, bolus, bolus_ended = p.other_boluses or (np.zeros(0, int), np.zeros(0), np.zeros(0))
    order = np.argsort(row, kind="stable")
    row, bolus, bolus_ended = row[order], bolus[order], bolus_ended[order]
    newest = np.zeros(p.rows) if p.newest_bolus is None else p.newest_bolus
    found: dict[str, Any] = {
        "N": p.subjects,
        "M": p.rows,
        "subject": p.subject + 1,
        "since": p.since,
        "dv": p.dv,
        "P": p.measured.size,
        "measured": p.measured + 1,
        "C": p.censored.size,
        "censored": p.censored + 1,
        "sign": p.sign[p.censored],
        "bound": p.bound[p.censored],
        "I": len(p.infusions),
        "count": [n for n, *_ in p.infusions],
        "rate": [padded(rate) for _, rate, _, _ in p.infusions],
        "ran": [padded(ran) for _, _, ran, _ in p.infusions],
        "ended": [padded(ended) for _, _, _, ended in p.infusions],
        "any_bolus": int(p.newest_bolus is not None),
        "newest": newest,
        "B": row.size,
        "bolus": bolus,
        "bolus_ended": bolus_ended,
        "bolus_row": row + 1,
        "bolus_column": np.arange(row.size) + 1,
        "bolus_start": np.searchsorted(row, np.arange(p.rows + 1)) + 1,
        "log_per_liter": float(np.log(p.per_liter)),
        "lognormal_error": int(p.error == "lognormal"),
        "least": LEAST_LOG_CONCENTRATION,
        "effect_sd": priors["effect"],
        "sigma_scale": priors["sigma"],
    }
    for name in INDIVIDUAL:
        found[f"log_size_{name}"] = p.log_size[name]
        found[f"on_{name}"] = p.indicator if p.effect_on == name else np.zeros(p.subjects)
        found[f"TV{name}_median"], found[f"TV{name}_sigma"] = priors[f"TV{name}"]
        found[f"omega_{name}_scale"] = priors[f"omega_{name}"]
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()}


def start(posterior: Posterior, centred: bool, seed: int) -> dict[str, Any]:
    """Prior medians, each within a factor of e^0.5; etas likewise around 0."""
    rng, priors = np.random.default_rng(seed), posterior.priors
    found: dict[str, Any] = {"effect": rng.uniform(-0.5, 0.5)}
    for name in ("omega_CL", "omega_V", "sigma"):
        found[name] = 0.6745 * priors[name] * np.exp(rng.uniform(-0.5, 0.5))
    for name in INDIVIDUAL:
        found[f"TV{name}"] = priors[f"TV{name}"][0] * np.exp(rng.uniform(-0.5, 0.5))
        centre = np.log(priors[f"TV{name}"][0]) if centred else 0.0
        found[f"x_{name}"] = (centre + rng.uniform(-0.5, 0.5, posterior.subjects)).tolist()
    return {k: v if isinstance(v, list) else float(v) for k, v in found.items()}


def prepare(posterior: Posterior, settings: Settings) -> Sample:
    """Compile; the model of another seed is the same program."""
    centred = settings.variant == "centred"
    model = stan.build(program(centred), data=data(posterior), random_seed=settings.cold_seed)

    def sample(seed: int) -> Run:
        fit: Any = dataclasses.replace(model, random_seed=seed).sample(
            num_chains=settings.chains,
            num_warmup=settings.warmup,
            num_samples=settings.draws,
            init=[start(posterior, centred, 1000 * seed + i) for i in range(settings.chains)],
        )

        def chains(name: str) -> np.ndarray:
            flat = np.asarray(fit[name])  # [..., draw of all chains, chains alternating]
            split = flat.reshape(-1, settings.draws, settings.chains)
            return np.moveaxis(split, 0, 2).swapaxes(0, 1)

        draws = {name: chains(name) for name in POPULATION + INDIVIDUAL}
        elapsed = _elapsed(fit.stan_outputs)  # of each chain
        return Run(
            {name: a[..., 0] if name in POPULATION else a for name, a in draws.items()},
            gradients=int(fit["n_leapfrog__"].sum()),
            divergences=int(fit["divergent__"].sum()),
            sampling_s=max(sampling for _, sampling in elapsed),
            notes={"chain_s": [sum(seconds) for seconds in elapsed]},
        )

    return sample


def _elapsed(outputs: tuple[bytes, ...]) -> list[tuple[float, float]]:
    """Of each chain the seconds of warm-up and of sampling that Stan itself reports."""
    found = []
    for output in outputs:
        text = output.decode()
        warmup, sampling = (
            re.search(rf"([0-9.]+) seconds \({phase}\)", text) for phase in ("Warm-up", "Sampling")
        )
        assert warmup is not None
        assert sampling is not None
        found.append((float(warmup[1]), float(sampling[1])))
    return found


if __name__ == "__main__":
    main(prepare, ("pystan", "httpstan", "numpy"))

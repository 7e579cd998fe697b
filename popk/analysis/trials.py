"""Tables of many fitted trials."""

import numpy as np
import pandas as pd

from popk.inference.trials import Trials


def table(trials: Trials) -> pd.DataFrame:
    """One row for each trial and population parameter.

    Returns
    -------
    DataFrame
        Indexed by trial (from 0) and parameter: mean, sd, median, q5, q95, R-hat, ESS bulk and
        tail; and of the whole trial: passed (its gate), method, draws, and what failed.
    """
    rows = []
    for i, draws in enumerate(trials.draws):
        flat = draws.reshape(-1, draws.shape[2])
        q5, median, q95 = np.quantile(flat, [0.05, 0.5, 0.95], axis=0)
        rows.append(
            pd.DataFrame(
                {
                    "mean": flat.mean(axis=0),
                    "sd": flat.std(axis=0, ddof=1),
                    "median": median,
                    "q5": q5,
                    "q95": q95,
                    "rhat": trials.rhat[i, : len(trials.names)],
                    "ess_bulk": trials.ess_bulk[i, : len(trials.names)],
                    "ess_tail": trials.ess_tail[i, : len(trials.names)],
                    "passed": trials.passed[i],
                    "method": trials.method[i],
                    "draws": len(flat),
                    "why": trials.why[i],
                },
                index=pd.MultiIndex.from_product([[i], trials.names], names=["trial", "parameter"]),
            )
        )
    return pd.concat(rows)

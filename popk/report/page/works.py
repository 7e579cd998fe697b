"""Works that a report may cite, by key."""

from popk.report.page.blocks import Reference

WORKS = {
    "m3": Reference(
        "Beal SL. Ways to fit a PK model with some data below the quantification "
        "limit. J Pharmacokinet Pharmacodyn 2001;28:481-504."
    ),
    "mosteller": Reference(
        "Mosteller RD. Simplified calculation of body-surface area. N Engl J Med 1987;317:1098."
    ),
    "haycock": Reference(
        "Haycock GB, Schwartz GJ, Wisotsky DH. Geometric method for measuring body "
        "surface area. J Pediatr 1978;93:62-66."
    ),
    "gehan_george": Reference(
        "Gehan EA, George SL. Estimation of human body surface area from "
        "height and weight. Cancer Chemother Rep 1970;54:225-235."
    ),
    "dubois": Reference(
        "Du Bois D, Du Bois EF. A formula to estimate the approximate surface area "
        "if height and weight be known. Arch Intern Med 1916;17:863-871."
    ),
    "boyd": Reference(
        "Boyd E. The growth of the surface area of the human body. Minneapolis: "
        "University of Minnesota Press; 1935."
    ),
    "current": Reference(
        "Current JD. A linear equation for estimating the body surface area in "
        "infants and children. Internet J Anesthesiol 1998;2(2)."
    ),
    "maturation": Reference(
        "Anderson BJ, Holford NHG. Mechanism-based concepts of size and maturity "
        "in pharmacokinetics. Annu Rev Pharmacol Toxicol 2008;48:303-332."
    ),
    "hmc": Reference(
        "Neal RM. MCMC using Hamiltonian dynamics. In: Handbook of Markov Chain Monte Carlo. 2011.",
        "https://arxiv.org/abs/1206.1901",
    ),
    "nuts": Reference(
        "Hoffman MD, Gelman A. The No-U-Turn sampler. J Mach Learn Res 2014;15:1593-1623.",
        "https://arxiv.org/abs/1111.4246",
    ),
    "numpyro": Reference(
        "Phan D, Pradhan N, Jankowiak M. Composable effects for flexible and "
        "accelerated probabilistic programming in NumPyro. 2019.",
        "https://arxiv.org/abs/1912.11554",
    ),
    "rhat": Reference(
        "Vehtari A, Gelman A, Simpson D, Carpenter B, Bürkner PC. Rank-normalization, "
        "folding, and localization: an improved R-hat. Bayesian Analysis "
        "2021;16:667-718.",
        "https://arxiv.org/abs/1903.08008",
    ),
    "nested": Reference(
        "Margossian CC, Hoffman MD, Sountsov P, et al. Nested R-hat: assessing the "
        "convergence of Markov chain Monte Carlo when running many short chains. "
        "Bayesian Analysis 2024.",
        "https://arxiv.org/abs/2110.13017",
    ),
    "energy": Reference(
        "Betancourt M. Diagnosing suboptimal cotangent disintegrations in "
        "Hamiltonian Monte Carlo. 2016.",
        "https://arxiv.org/abs/1604.00695",
    ),
    "focei": Reference(
        "Wang Y. Derivation of various NONMEM estimation methods. J Pharmacokinet "
        "Pharmacodyn 2007;34:575-593."
    ),
    "quadrature": Reference(
        "Pinheiro JC, Bates DM. Approximations to the log-likelihood function "
        "in the nonlinear mixed-effects model. J Comput Graph Stat "
        "1995;4:12-35."
    ),
    "npde": Reference(
        "Brendel K, Comets E, Laffont C, Laveille C, Mentré F. Metrics for external "
        "model evaluation. Pharm Res 2006;23:2036-2049."
    ),
    "pcvpc": Reference(
        "Bergstrand M, Hooker AC, Wallin JE, Karlsson MO. Prediction-corrected visual "
        "predictive checks. AAPS J 2011;13:143-151."
    ),
    "envelope": Reference(
        "Myllymäki M, Mrkvička T, Grabarnik P, Seijo H, Hahn U. Global envelope "
        "tests for spatial processes. J R Stat Soc B 2017;79:381-404."
    ),
    "priors": Reference(
        "Kallioinen N, Paananen T, Bürkner PC, Vehtari A. Detecting and diagnosing "
        "prior and likelihood sensitivity with power-scaling. Stat Comput "
        "2024;34:57."
    ),
    "fda": Reference(
        "U.S. Food and Drug Administration. Population Pharmacokinetics: Guidance for "
        "Industry. 2022."
    ),
}

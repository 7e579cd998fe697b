# R's nlme on the data and the model of benchmarks.likelihood: Rscript nlme.R phenobarb|infusion FILE
# Prints one line of JSON: seconds of a first and of a second fit, and the estimates.
suppressPackageStartupMessages(library(nlme))
arguments <- commandArgs(trailingOnly = TRUE)
rows <- read.csv(arguments[2], na.strings = ".", comment.char = "#")

phenobarb <- function() {
  rows$DV[rows$EVID != 0 | rows$MDV != 0] <- NA
  rows$dose <- ifelse(rows$AMT > 0, rows$AMT, NA)
  rows$low <- as.numeric(rows$APGR < 5)
  own <- groupedData(DV ~ TIME | ID, data = rows)
  # phenoModel is nlme's own compiled model of these data; doses and concentrations are rows
  nlme(DV ~ phenoModel(ID, TIME, dose, lCL + log(WT), lV + log(WT)), data = own,
       fixed = list(lCL ~ 1, lV ~ low), random = pdDiag(lCL + lV ~ 1),
       start = c(log(0.006), log(1), 0), weights = varPower(fixed = 1),
       na.action = NULL, naPattern = ~ !is.na(DV), method = "ML",
       control = nlmeControl(msMaxIter = 200, pnlsMaxIter = 20, maxIter = 200))
}

infusion <- function() {
  rows <- rows[rows$SD == 1 & rows$EVID != 2, ]
  doses <- rows[rows$EVID == 1, ]
  rate <- setNames(doses$RATE, doses$ID)
  given <- setNames(doses$AMT / doses$RATE, doses$ID)
  own <- rows[rows$EVID == 0 & rows$DV > 0, ]
  own$rate <- rate[as.character(own$ID)]
  own$given <- given[as.character(own$ID)]
  concentration <- function(time, rate, given, lCL, lV) {
    k <- exp(lCL - lV)
    rate / exp(lCL) * (1 - exp(-k * pmin(time, given))) * exp(-k * pmax(time - given, 0))
  }
  assign("concentration", concentration, envir = globalenv())
  nlme(DV ~ concentration(TIME, rate, given, lCL, lV),
       data = groupedData(DV ~ TIME | ID, data = own),
       fixed = lCL + lV ~ 1, random = pdDiag(lCL + lV ~ 1), start = c(log(5), log(50)),
       weights = varPower(fixed = 1), method = "ML",
       control = nlmeControl(msMaxIter = 200, pnlsMaxIter = 20, maxIter = 200))
}

fit <- list(phenobarb = phenobarb, infusion = infusion)[[arguments[1]]]
first <- system.time(found <- fit())[["elapsed"]]
second <- system.time(found <- fit())[["elapsed"]]
sd <- as.numeric(VarCorr(found)[, "StdDev"])
fixed <- fixef(found)
cat(sprintf(
  '{"first": %.3f, "second": %.3f, "TVCL": %.6g, "TVV": %.6g, "omega_CL": %.5g, "omega_V": %.5g, "sigma": %.5g, "version": "R %s.%s, nlme %s"}\n',
  first, second, exp(fixed[[1]]), exp(fixed[[2]]), sd[1], sd[2], found$sigma,
  R.version$major, R.version$minor, packageVersion("nlme")))

# deSolve on the infants of benchmarks.simulation:
#   Rscript desolve.R infants.csv stretches.csv TIMES_EVERY REPEATS concentrations.csv
# A right-hand side in R, integrated by lsoda from one change of rate to the next, so that no step
# jumps over one; tolerances as in benchmarks/peers/ode.py. Prints one line of JSON.
# Debian: apt-get update && apt-get install -y --no-install-recommends r-base-core r-cran-desolve
suppressPackageStartupMessages(library(deSolve))
arguments <- commandArgs(trailingOnly = TRUE)
infants <- read.csv(arguments[1])      # CL, V (L/h, L), BSA (m2)
stretches <- read.csv(arguments[2])    # start, end (h), rate per m2 (pg/mL x L/h)
every <- as.numeric(arguments[3])
repeats <- as.integer(arguments[4])
tolerance <- 1e-8

elimination <- function(t, state, parameters) {
  list(parameters[["input"]] - parameters[["k"]] * state)
}

course <- function(cl, v, bsa) {
  found <- 0
  for (i in seq_len(nrow(stretches))) {
    times <- seq(stretches$start[i], stretches$end[i], by = every)
    own <- c(input = stretches$rate[i] * bsa / v, k = cl / v)
    out <- ode(c(C = found[length(found)]), times, elimination, own, method = "lsoda",
               rtol = tolerance, atol = tolerance)
    found <- c(found, out[-1, "C"])
  }
  found
}

seconds <- numeric(repeats)
for (i in seq_len(repeats)) {
  seconds[i] <- system.time(
    all <- t(mapply(course, infants$CL, infants$V, infants$BSA, USE.NAMES = FALSE)))[["elapsed"]]
}
write.table(format(all, digits = 15), arguments[5], sep = ",", quote = FALSE,
            row.names = FALSE, col.names = FALSE)
cat(sprintf('{"seconds": [%s], "version": "R %s.%s, deSolve %s"}\n',
            paste(sprintf("%.4f", seconds), collapse = ", "),
            R.version$major, R.version$minor, packageVersion("deSolve")))

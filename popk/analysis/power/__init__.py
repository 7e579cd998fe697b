"""Power of designs: trials simulated and fitted again, and the expected information of a design."""

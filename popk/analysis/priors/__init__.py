"""How far a posterior rests on its priors, and what further samples would teach."""

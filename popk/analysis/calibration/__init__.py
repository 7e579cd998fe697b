"""Is a posterior what it says? Simulated trials whose truth is known."""

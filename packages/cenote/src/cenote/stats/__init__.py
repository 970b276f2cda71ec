"""Statistics of servers and pools: counters, samples, history and advice."""

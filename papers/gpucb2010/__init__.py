"""GP-UCB: no regret in the bandit setting."""

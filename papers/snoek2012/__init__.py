"""Practical Bayesian optimization."""

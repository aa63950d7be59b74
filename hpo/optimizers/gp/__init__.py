"""The GP sampler: observations, fits, acquisition terms, search regions."""

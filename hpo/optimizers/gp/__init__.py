"""The sampler on a Gaussian process: what it reads, its fits, what it weighs, where it looks."""

"""The sampler on a Gaussian process: what it reads, its fits, what it weighs, what is added to that, where it looks."""

"""What the sampler CMAES is made of (hpo/optimizers/cma_es.py).

gaussian.py   the evolution path of a normal distribution: mean, step size, covariance (Hansen 2016); arrays in, arrays out
margin.py     integers: no level beside the mean's becomes impossible (Hamano et al. 2022)
choices.py    choices: probabilities that follow the natural gradient (Hamano et al. 2024, CatCMA)
joint.py      the three together, over the columns of a domain: draws and updates
warm.py       a distribution from results (Nomura et al. 2021)
paths.py      the fold: generations, restarts, one path a first budget
"""

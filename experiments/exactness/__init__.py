"""How exact the Gaussian process and its acquisitions are, and whether ugly data break them.

    python -m experiments.exactness                # ten minutes on one core; appends to experiments/results/exactness.jsonl
    python -m experiments.exactness --table        # only prints what is stored there
    python -m experiments.exactness --quick        # everything small; prints, stores nothing
    python -m experiments.exactness --case 1234    # one ugly data set again, with its description and its traceback

    measure.py     sizes, the largest error of each quantity, the problems that are asked about
    posterior.py   mean, variance, log marginal likelihood        against gpytorch, and both against 40 digits (digits.py)
    formulas.py    every kernel from its definition
    gradients.py   analytic ones by hyperparameters and by rows   against torch's autograd of model.py
    normal.py      log EI, EI and their derivatives               against 80 digits
    ugly.py        ugly data sets
    fuzz.py        from each of them to a proposal                nothing may raise, warn, be infinite or be illegal
    claims.py      what is claimed, the table
    __main__.py    the command and its ledger, a line a part
"""

"""Learning curves: what a short training says of the whole, and whether a GP that reads it searches better.

    data.py       the curves: TaskSet's, interpolated between configurations, and those of 40 language models
    baselines.py  the model of several budgets that stood before, as a sampler
    offline.py    what models of the same results predict of whole trainings
    online.py     searches with and without them, and two rules of what to hand over
    tables.py     tables of what is stored
    __main__.py   the command: what is measured, in which order

Curves are those of TaskSet (8 recurrent classifiers, 1000 configurations of Adam each, validation and test loss after 0 to
50 epochs; Metz et al. 2020) and those of 40 language models of the main job (experiments/results/rungs.jsonl).

Offline   ASHA over random configurations leaves n results at its rungs; a model of them predicts the last validation loss of
          configurations that it has not seen.
Online    ASHA with each of the samplers, over TaskSet's curves, with one worker, for as many epochs as 30 whole trainings
          take. At every mark the validation and the test loss of what is handed over, by two rules: the lowest at the
          highest budget reached, or the lowest at any budget.
"""

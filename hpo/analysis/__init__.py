"""The results of a study as numbers, words, pictures and a page. Everything here reads a History, never a Study.

lines.py       values, configurations and trials as they are printed
progress.py    rungs, work done, when things finished, the best so far
snapshot.py    a study at one moment, for a live display and for the head of the page
feed.py        a study as JSON for the page: all of it, or what is new; lanes.py has the lanes of its timeline
importance.py  which hyperparameters mattered; with too few results, their rank correlation with the loss
subject.py     what is drawn: a history, its space, one objective, the trials to highlight
drawing.py     an empty figure, a saved one
axes.py        limits and labels of axes: the good end of the losses, the range of a hyperparameter
figures.py     pictures of results: best so far, learning curves, Pareto front
parameters.py  pictures of hyperparameters: importance, effects, slices, parallel coordinates
hypervolume.py the hypervolume of a front, and its curve
plots.py       the same as methods: study.plot
captions.py    the importance in words and as JSON
sections.py    sections of a report, of any study
page.py, web/  the page: finished sections in one self-contained file, or live, where a server feeds it (hpo/serve)
report.py      the whole page of any study, frozen: study.report
"""

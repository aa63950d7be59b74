"""Classification of texts by our GPT with a head.

texts.py        labelled texts from CSV, and their parts for training, validation and test
alphabet.py     characters as tokens, texts filled up to one length
pieces.py       tokens of a BPE of a chosen size
classifier.py   a GPT whose head reads the mean over a text
scores.py       confusions, accuracy, F1, macro-F1
run.py          ClassifyRun: a training as a Run
"""

"""Training on one CPU thread with forward and backward passes written out.

kernels.c    everything between matrix products, in C
compiler.py  finds the C compiler
kernels.py   compiles kernels.c, once for each processor
parts.py     maps, norms, attention, activation: each with its backward pass
passes.py    forward and backward pass of a whole GPT
engine.py    the engine that a training uses if it can

predict/support.py lists the options that the passes know, predict/buffers.py counts the bytes that they hold.
"""

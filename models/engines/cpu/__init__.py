"""Training on one CPU thread with forward and backward passes written out.

kernels.c    what is computed between matrix products, in C
compiler.py  which compiler there is for it
kernels.py   compiles it, once for a processor
parts.py     maps, norms, attention, activation: each with its backward pass
passes.py    a whole GPT of them
engine.py    the engine that training takes where it can

predict/support.py has the options that the passes know, predict/buffers.py the bytes that they hold.
"""

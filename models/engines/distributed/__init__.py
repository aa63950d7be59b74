"""One model over several devices, one process each.

group.py   the processes, and how they exchange values
ddp.py     each device holds everything, and gradients are averaged (sharding "none")
fsdp.py    each device holds its rows of weights, gradients and moments (sharding "grads" and "full")
lead.py    rank 0 runs a script, and its runs train on all ranks

Every process takes its share of the sequences of a step. A checkpoint always holds the whole model: a run may go on with
another number of devices and another sharding.
"""

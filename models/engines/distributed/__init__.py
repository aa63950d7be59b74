"""One model over several devices, one process each.

group.py   the processes, and what they exchange
ddp.py     each device holds everything, and gradients are averaged (sharding "none")
fsdp.py    each device holds its rows of weights, gradients and moments (sharding "grads" and "full")
lead.py    rank 0 runs a script, and the runs that it makes train on all

Every process takes its share of the sequences of a step. Checkpoints hold the whole, whatever wrote them: a run may go on with
another number of devices and another sharding.
"""

"""How a step of training is carried out: engine.py has the protocol and the table, choice.py chooses one."""

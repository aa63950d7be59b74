"""The weights optimizers, which work on the flat buffers of flat.py: one class a file, and one row for each in rows.py.

base.py has their base class. Nothing is imported here, so that rows.py can be read without torch.
"""

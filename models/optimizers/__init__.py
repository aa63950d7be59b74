"""The weights optimizers, which work on the flat buffers of flat.py: a class a file, and a row each in rows.py.

base.py says what one is. Nothing is imported here, so that rows.py can be read without torch.
"""

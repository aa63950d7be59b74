"""Pretrained models of transformers, made ready for a training: fewer layers, frozen ones, adapters, rates by depth.

load.py       a causal LM or a classifier with its tokenizer, from a package, a folder, a GGUF file or a hub's name
layers.py     the blocks of any model: the first n of them, frozen ones, parameter groups whose rates fall with depth
adapters.py   low-rank adapters (LoRA)
recipe.py     Recipe: all of that as one configuration of plain values
trainer.py    a Trainer with rates that fall with depth
"""

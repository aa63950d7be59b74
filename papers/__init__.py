"""Papers as executable claims: a folder each. `python -m papers` lists them; README.md says how to add one."""

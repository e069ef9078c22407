"""Pools of workers under generated load, in virtual time: how long clients wait, and what the workers cost."""

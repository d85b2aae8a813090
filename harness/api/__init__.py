"""The harness from Python: what the command line does, for notebooks and scripts.

Everything is reached from ``harness`` itself; importing one part does not import the others.
"""

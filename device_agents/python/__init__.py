"""The Python agent: Python 3.7+, standard library, NumPy and one TensorFlow Lite runtime.

``PROTOCOL.md`` beside this package is the contract; ``wire`` is its only module that the
host side also reads.
"""

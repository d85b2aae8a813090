"""What records say together: comparisons and what follows from them.

Everything here is made from records alone, so it can be made again at any time and anywhere;
nothing here measures.
"""

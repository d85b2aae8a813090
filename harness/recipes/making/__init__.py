"""How a variant is made: a request, a conversion process, a file with its manifest.

``builder.build`` takes requests (``request``) and hands what is not in the cache to a conversion
process (``process``, ``worker``), in which ``conversion`` applies the recipe; ``manifest`` records
it. Only what runs in that process imports TensorFlow.
"""

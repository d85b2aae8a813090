"""Fuzzing of what reads foreign bytes: one target for each reader.

``make fuzz`` runs them all, ``make fuzz TARGETS="tflite profiles" SECONDS=60`` some of them.
``CONTRIBUTING.md`` says how to add one.
"""

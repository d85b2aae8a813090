"""From a Suite to sealed jobs: plan, prepare, and run every device.

``run.execute`` runs a suite or resumes a run; what happens is told as typed events.
Importing this package imports nothing: each command pays for what it uses.
"""

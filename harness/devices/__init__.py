"""Live devices: one exclusive session each, with its pushed files and its agent."""

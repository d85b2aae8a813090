"""What commands stand on: options, forms of output, progress, signals; no command is here."""

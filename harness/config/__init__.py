"""From TOML files to the domain: what is wrong is refused with its file and line."""

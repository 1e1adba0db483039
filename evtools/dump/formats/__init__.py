"""The formats of evdump, one module each."""

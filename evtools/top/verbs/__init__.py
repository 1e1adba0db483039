"""What can be commanded: by a key, or by name after `:`."""

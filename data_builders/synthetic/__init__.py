"""A licence-free, procedural micro-expression dataset."""

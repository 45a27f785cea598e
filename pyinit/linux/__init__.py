"""Thin modules over the kernel, one subject each; they import nothing else of pyinit."""

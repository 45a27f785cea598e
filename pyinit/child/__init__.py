"""The main child and its descendants: how it is started, and who belongs to it."""

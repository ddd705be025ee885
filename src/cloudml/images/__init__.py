"""The universal image: what is in it, how it is built, how it is pushed."""

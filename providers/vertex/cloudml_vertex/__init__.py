"""Vertex AI behind cloudml's waist: ``plugin`` is what the entry point names, ``emulator`` its cloud here."""

"""Runnable studies: one module each, with results that say where they come from."""

"""Owns files for other programs: opening them safely, their spellings, who reads what, and rewriting them."""

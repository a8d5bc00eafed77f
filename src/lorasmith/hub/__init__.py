"""The hub: who is logged in, what of an export is shared, and sending exactly what the hub lacks."""

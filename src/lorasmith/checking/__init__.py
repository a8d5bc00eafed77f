"""Pictures and captions looked at before they are trained on: what is wrong, why, and what to do about it."""

"""One training run: its plan, its phases, its step, its loop, and what it resumes from."""

"""What a run looks like on one page; reads the run folder's files and nothing else."""

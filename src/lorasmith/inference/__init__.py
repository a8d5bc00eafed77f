"""Drawing pictures with a base, with and without what was learnt; trains nothing."""

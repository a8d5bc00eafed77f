"""The command line: words in, words and pictures out; it decides nothing that a library user would miss."""

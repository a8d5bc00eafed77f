"""New tokens: which words become them, how their vectors start, and how only those vectors train."""

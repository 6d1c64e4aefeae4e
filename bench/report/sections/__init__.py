"""The sections of a report, a file each: `make(findings)` returns what stands there, or why nothing does."""

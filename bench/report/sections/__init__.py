"""The sections of the report, one file each: `make(findings)` returns a `Section` of the blocks in `page.py`."""

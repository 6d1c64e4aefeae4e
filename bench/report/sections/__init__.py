"""The sections of the report, one file each. `make(findings)` returns a `Section`, made of the blocks in `page.py`."""

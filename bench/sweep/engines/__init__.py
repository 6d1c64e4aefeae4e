"""Where runs execute, one file an engine: today processes of this machine."""

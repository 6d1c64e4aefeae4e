"""Where runs execute: the local engine, its fork server and processes, and the machine that they share."""

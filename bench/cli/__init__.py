"""The command line: the only folder that prints.

In: arguments and options.
Out: text on the terminal and an exit code.
"""

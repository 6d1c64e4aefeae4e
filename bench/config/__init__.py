"""What you can ask for: the settings of a sweep and of a run, search spaces, dataset cards and prices.

In: TOML files, command-line options and the names of plugins.
Out: checked, frozen settings, or a DeclarationError that names file, key and rule.
"""

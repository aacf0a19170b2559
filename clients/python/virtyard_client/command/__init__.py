"""The command line: nouns, verbs, flags and help, all made from the schema."""

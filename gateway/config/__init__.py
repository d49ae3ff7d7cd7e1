"""The configuration language. Floor 2: reads files, knows no network and no log."""

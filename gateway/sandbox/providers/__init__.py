"""The three providers, one file each: their documents as tables."""

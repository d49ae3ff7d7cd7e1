"""Where facts are kept, one file each, named after its URL scheme. Floor 3."""

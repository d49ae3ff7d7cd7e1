"""The HTTP/1.1 data plane: bytes in, bytes out. Floor 3: knows no rules."""

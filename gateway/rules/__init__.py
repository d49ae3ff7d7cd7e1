"""What is right: pure functions over values. Floor 2: no network, clock or log."""

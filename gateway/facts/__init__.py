"""What is known of tokens: sealed, bounded, fresh, revocable. Floor 3."""

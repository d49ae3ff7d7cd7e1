"""Windows: metrics, logs. Floor 4: reads `Exchange` records, decides nothing."""

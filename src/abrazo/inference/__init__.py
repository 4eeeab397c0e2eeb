"""Many requests of many lengths, answered fast and in order."""

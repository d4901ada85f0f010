"""What an answer is worth: tasks, metrics, chance."""

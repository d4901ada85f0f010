"""Official checkpoints to Flax variables and back: rule tables and their use."""

"""The methods that the trainer trains, behind one interface."""

"""FDP's configs, one for each dataset and set of classes."""

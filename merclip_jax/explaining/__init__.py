"""What a trained model saw: maps, features, retrieval, calibration."""

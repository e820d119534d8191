"""From a trained model to answers, and from a folder to a trained model."""

"""A trained model as a service: requests in, the predictor's answers out."""

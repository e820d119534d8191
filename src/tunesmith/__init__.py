"""Turn labelled text and a pre-trained language model into a model in production that stays good."""

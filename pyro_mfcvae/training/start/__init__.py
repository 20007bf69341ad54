"""What comes before the first step: initial weights, pretraining, placing the mixtures."""

"""The data to train and evaluate networks with: MNIST, fonts, real sets, and a user's own pictures."""

"""What networks learn from and are judged by: MNIST, fonts, real sets, and a user's own pictures."""

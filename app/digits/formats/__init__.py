"""What the file of a picture says about itself, read without decoding a pixel: a module for each format."""

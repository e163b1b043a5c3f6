"""What random changes of images are made of."""

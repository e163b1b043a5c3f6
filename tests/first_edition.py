"""Chapters that are still in the first edition: what the second asks for is not tested there."""

FIGURES = [  # not numbered, without captions
    *("02_activations", "03_pooling", "04_normalization", "05_dropout", "06_dense", "07_softmax"),
    *("08_preprocessing", "09_augmentation", "10_losses", "11_optimizers", "12_training"),
    *("13_industrial_cnn", "14_quantization", "15_pruning", "16_distillation", "17_deployment"),
    *("fashion_mnist", "augmentation", "compression", "industrial_cnn"),
]

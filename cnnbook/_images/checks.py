"""Images, and the masks, boxes and labels that go along: whether they belong together."""

import keras

from cnnbook._shared import arguments

LARGEST_FILL = 3e38  # about the largest float32


def as_images(images, data_format):
    """Images with the channels last, and whether they stood first."""
    channels_first = arguments.is_channels_first(data_format)
    images = arguments.as_float(images=images)
    arguments.require_rank("images", images, 4)
    images = arguments.to_channels_last(images, channels_first)
    if None in images.shape[1:]:
        raise ValueError(f"images must have known sizes, got shape {tuple(images.shape)}.")
    return images, channels_first


def as_fill(fill):
    return arguments.number("fill", fill, at_least=-LARGEST_FILL, at_most=LARGEST_FILL)


def require_numbers(name, tensor):
    """No symbolic tensor: what is drawn and moved needs to know how many images there are."""
    if isinstance(tensor, keras.KerasTensor):
        raise ValueError(f"{name} must be an array or a tensor with values, got a KerasTensor.")


def as_masks(masks, images):
    if masks is None:
        return None
    masks = arguments.as_tensor("masks", masks)
    require_numbers("masks", masks)
    arguments.require_rank("masks", masks, 3)
    if tuple(masks.shape[1:]) != tuple(images.shape[1:3]) or differ(masks, images):
        raise ValueError(
            f"masks must have the shape {tuple(images.shape[:3])} of the images, "
            f"got {tuple(masks.shape)}."
        )
    return masks


def as_boxes(boxes, images):
    if boxes is None:
        return None
    boxes = arguments.as_float(boxes=boxes)
    require_numbers("boxes", boxes)
    if len(boxes.shape) not in (2, 3) or boxes.shape[-1] != 4 or differ(boxes, images):
        raise ValueError(
            f"boxes must have shape ({images.shape[0]}, 4) or ({images.shape[0]}, boxes, 4), "
            f"got {tuple(boxes.shape)}."
        )
    return boxes


def differ(a, b):
    """Whether the numbers of examples differ, where both are known."""
    return None not in (a.shape[0], b.shape[0]) and a.shape[0] != b.shape[0]


def as_labeled(images, labels):
    """Images and one-hot labels of one dtype."""
    images, labels = arguments.as_float(images=images, labels=labels)
    require_numbers("images", images)
    require_numbers("labels", labels)
    if len(images.shape) < 2:
        raise ValueError(
            f"images must have at least 2 dimensions, got shape {tuple(images.shape)}."
        )
    if len(labels.shape) != 2:
        raise ValueError(
            "labels must be one-hot or probabilities, of shape (N, classes), "
            f"got shape {tuple(labels.shape)}."
        )
    if differ(images, labels):
        raise ValueError(
            f"labels must have one row for each of {images.shape[0]} images, "
            f"got shape {tuple(labels.shape)}."
        )
    return images, labels


def together(images, masks, boxes):
    """The images alone, or a tuple of all that were given."""
    given = tuple(a for a in (images, masks, boxes) if a is not None)
    return given if len(given) > 1 else images

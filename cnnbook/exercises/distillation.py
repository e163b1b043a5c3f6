"""The exercises of chapter 16."""

import numpy as np

from cnnbook.exercises import Array, Function, Number

HARD, SOFT = np.array([-0.9, 0.9]), np.array([-0.25, 0.25])


def _logs(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def student_loss(labels, student, teacher, alpha, temperature):
    hard = -_logs(student)[np.arange(len(labels)), labels]
    log_p, log_q = _logs(teacher / temperature), _logs(student / temperature)
    soft = np.sum(np.exp(log_p) * (log_p - log_q), axis=1)
    return np.mean(alpha * hard + (1 - alpha) * temperature**2 * soft)


def _parts(labels, student, teacher, temperature):
    """Labels alone, and the teacher's part without its factor."""
    hard = student_loss(labels, student, teacher, 1.0, temperature)
    soft = student_loss(labels, student, teacher, 0.0, temperature) / temperature**2
    return hard, soft


def _without_square(labels, student, teacher, alpha, temperature):
    hard, soft = _parts(labels, student, teacher, temperature)
    return alpha * hard + (1 - alpha) * soft


def _reversed(labels, student, teacher, alpha, temperature):
    hard, _ = _parts(labels, student, teacher, temperature)
    return alpha * hard + student_loss(labels, teacher, student, 0.0, temperature) * (1 - alpha)


def _per_value(labels, student, teacher, alpha, temperature):
    hard, soft = _parts(labels, student, teacher, temperature)
    return alpha * hard + (1 - alpha) * temperature**2 * soft / student.shape[1]


def _draw_batch(rng):
    n, classes = (int(v) for v in rng.integers(2, 6, 2))
    student, teacher = rng.normal(size=(2, n, classes))
    labels = rng.integers(classes, size=n)
    return labels, student, teacher, float(rng.uniform(0.1, 0.4)), float(rng.uniform(1.5, 5))


EXERCISES = {
    "distillation-1": Number(
        lambda: np.log(5 / 4),
        hint="Each of the teacher's probabilities times the logarithm of teacher over student.",
        mistakes=[
            (
                0.2 * np.log(0.4) + 0.8 * np.log(1.6),
                "that is the other direction: the student's probabilities weigh.",
            ),
            (-np.log(5 / 4), "the sign is wrong: a divergence is never negative."),
            (np.log2(5 / 4), "the logarithm has base 2; here it is the natural one."),
            (np.log(5 / 2), "that is the cross-entropy; the teacher's own entropy must go."),
        ],
    ),
    "distillation-2": Array(
        lambda: 0.2 * HARD + 0.8 * 2 * SOFT,
        hint="Two differences of probabilities: one not softened, one softened and times T.",
        mistakes=[
            (0.2 * HARD + 0.8 * 4 * SOFT, "one of the two factors T is used up by the softmax."),
            (0.2 * HARD + 0.8 * SOFT, "that is the gradient of a loss with T, not with T squared."),
            (-0.2 * HARD - 0.8 * 2 * SOFT, "the sign is wrong: this climbs the loss."),
            (0.8 * HARD + 0.2 * 2 * SOFT, "alpha is the share of the labels, not of the teacher."),
            (
                0.2 * np.array([-0.75, 0.75]) + 0.8 * 2 * SOFT,
                "the part of the labels is computed without softening.",
            ),
        ],
    ),
    "distillation-3": Number(
        lambda: 1 / 145,
        hint="Two gradients have one direction if their parts are in the same ratio.",
        tolerance=1e-6,
        mistakes=[
            (0.1 / 16, "the two shares must still add up to one."),
            (1 / 144, "that is the ratio of the shares, labels to teacher."),
            (0.64, "the factor went to the wrong part."),
            (1 / 37, "the loss has T squared, not T."),
        ],
    ),
    "distillation-4": Function(
        student_loss,
        _draw_batch,
        hint="Cross-entropy at temperature 1, and T squared times the divergence at T.",
        mistakes=[
            (_without_square, "the factor T squared is missing."),
            (_reversed, "the divergence has the wrong direction: the teacher comes first."),
            (_per_value, "the divergence was averaged over the classes, too; they are summed."),
            (
                lambda y, s, t, a, temperature: student_loss(y, s, t, 1 - a, temperature),
                "alpha is the share of the labels, not of the teacher.",
            ),
        ],
    ),
}

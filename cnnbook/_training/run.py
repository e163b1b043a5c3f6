"""A training run: what it works with, how far it is, and its checkpoints."""

import math

import keras
import numpy as np
from keras import ops

from cnnbook._training import checkpoints, steps
from cnnbook._training.batches import Totals, augmented, floats


class Run:
    """A training run: what it works with, how far it is, and its checkpoints."""

    def __init__(self, model, loss, optimizer, preprocess, augment, call):
        self.model, self.optimizer, self.call = model, optimizer, call
        self.preprocess, self.augment = preprocess, augment
        self.training_step = steps.training_step(model, loss, optimizer)
        self.evaluation_step = steps.evaluation_step(model, loss)
        self.folder, self.best = None, None
        self.epoch, self.batch, self.step, self.history = 0, 0, 0, {}
        self.totals, self.best_epoch = Totals(), 0

    def resume(self, folder):
        self.folder = folder
        path = checkpoints.latest(folder)
        if path is None:
            return
        self.best, progress = checkpoints.read(path, self.model, self.optimizer)
        for name, value in self.call.items():
            if progress["call"][name] != value:
                raise ValueError(
                    f"checkpoint {path} is of a run with {name}={progress['call'][name]!r}, "
                    f"this one has {name}={value!r}."
                )
        steps.restore_torch_generators(progress["generators"])
        self.totals = Totals(progress["totals"])
        for name in ("epoch", "batch", "step", "history", "best_epoch"):
            setattr(self, name, progress[name])

    def save(self):
        if self.folder is None:
            return
        progress = {"call": self.call, "totals": self.totals.record()}
        progress["generators"] = steps.torch_generators()
        for name in ("epoch", "batch", "step", "history", "best_epoch"):
            progress[name] = getattr(self, name)
        name = f"epoch-{self.epoch:06d}-step-{self.step:09d}"  # epochs finished, steps done
        checkpoints.write(self.folder, name, self.model, self.optimizer, self.best, progress)

    def prepare(self, x, y, position=None):
        """Preprocessing and, with the position of a training batch, augmentation."""
        x = floats(x)
        if self.preprocess is not None:
            x = self.preprocess(x)
        if self.augment is not None and position is not None:
            draws = np.random.SeedSequence((self.call["seed"], *position)).generate_state(1)
            x, y = augmented(self.augment, x, y, int(draws[0] >> 1))
        return ops.convert_to_tensor(x), ops.convert_to_tensor(y)

    def train_epoch(self, batches, count, title, verbose, save_every):
        bar = (
            keras.utils.Progbar(count, stateful_metrics=("loss", "accuracy"))
            if verbose == 1
            else None
        )
        if verbose == 1:
            print(title)
        for index, (x, y) in enumerate(batches((self.call["seed"], self.epoch))):
            if index < self.batch:
                continue
            x, y = self.prepare(x, y, (self.epoch, index))
            loss, classes = self.training_step(x, y)
            self.batch, self.step = index + 1, self.step + 1
            self.totals.add(y, self.finite(loss), classes)
            if bar:
                bar.update(index + 1, list(self.totals.means().items()))
            if save_every and self.step % save_every == 0:
                self.save()
        if not self.totals.images:
            raise ValueError("data has no batches.")

    def finite(self, loss):
        loss = float(ops.convert_to_numpy(loss))
        if not math.isfinite(loss):
            kept = checkpoints.latest(self.folder) if self.folder is not None else None
            raise FloatingPointError(
                f"The loss is {loss} at step {self.step}, batch {self.batch - 1} of epoch "
                f"{self.epoch} (both from 0). The weights are spoiled; "
                f"{'there is no checkpoint' if kept is None else f'the last checkpoint is {kept}'}."
            )
        return loss

    def end_epoch(self, validation, patience, verbose):
        means = self.totals.means()
        if validation is not None:
            totals = Totals()
            for x, y in validation(None):
                x, y = self.prepare(x, y)
                loss, classes = self.evaluation_step(x, y)
                totals.add(y, float(ops.convert_to_numpy(loss)), classes)
            means |= {f"val_{name}": value for name, value in totals.means().items()}
        for name, value in means.items():
            self.history.setdefault(name, []).append(value)
        if verbose:
            print(f"epoch {self.epoch + 1}: " + ", ".join(f"{k} {v:.4f}" for k, v in means.items()))
        losses = self.history.get("val_loss", [])
        if patience is not None and losses[-1] == min(losses):
            self.best, self.best_epoch = self.model.get_weights(), self.epoch
        self.epoch, self.batch, self.totals = self.epoch + 1, 0, Totals()
        self.save()

    def has_stopped(self, patience):
        return patience is not None and self.epoch > self.best_epoch + patience

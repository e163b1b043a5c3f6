"""A training run: what it works with, how far it is, and its checkpoints."""

import contextlib
import math

import keras
import numpy as np
from keras import ops

from cnnbook._training import checkpoints, describe, optimizers, steps
from cnnbook._training.batches import arrays, as_floats, as_tensor, each
from cnnbook._training.losses import parameters, require_weights
from cnnbook._training.totals import Totals


class Preparation:
    """What is done with a batch before the step: preprocessing and augmentation."""

    def __init__(self, preprocess, augment, seed):
        self.preprocess, self.augment, self.seed = preprocess, augment, seed
        self.takes = parameters(augment) if augment is not None else set()

    def __call__(self, batch, position=None):
        """Tensors of the batch; with the position of a training batch, augmented."""
        x, y, weights = batch
        x = each(as_floats, x)
        if self.preprocess is not None:
            x = self.preprocess(x)
        if self.augment is not None and position is not None:
            x, y = self._augmented(x, y, position)
        x, y = each(as_tensor, x), each(as_tensor, y)
        return x, y, None if weights is None else each(as_tensor, weights)

    def _augmented(self, x, y, position):
        options = {}
        if "seed" in self.takes:
            draws = np.random.SeedSequence((self.seed, *position)).generate_state(1)
            options["seed"] = int(draws[0] >> 1)
        if "labels" in self.takes:
            return self.augment(x, y, **options)
        return self.augment(x, **options), y


class Run:
    """One call of `train`, from its first step or from where a checkpoint stands to its end."""

    def __init__(self, model, loss, optimizer, prepare, callbacks, settings):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.prepare, self.callbacks, self.settings = prepare, callbacks, settings
        self.training_step = steps.training_step(model, loss, optimizer)
        self.evaluation_step = steps.evaluation_step(model, loss)
        self.folder, self.best = None, None
        self.epoch, self.batch, self.step, self.best_epoch = 0, 0, 0, 0
        self.history, self.totals = {}, Totals()

    def go(self, training, validation, checkpoint):
        """Trains to the end and returns the history."""
        call = describe.plain(self._call(training, validation))
        given = optimizers.describe(self.optimizer)
        saved = None if checkpoint is None else self._find(checkpoint, call, given)
        self.described = {"call": call, "optimizer": given}
        with _showing(self.model, self.optimizer):
            self.model.stop_training = False
            self.callbacks.begin(self._where)
            if saved is not None:
                self._restore(*saved)
            while self.epoch < self.settings.epochs and (self.batch or not self._is_over()):
                self._train_epoch(training)
                self._end_epoch(validation)
            self.optimizer.finalize_variable_values(self.model.trainable_weights)
            if self.best is not None:
                self.model.set_weights(self.best)
            last = {name: values[-1] for name, values in self.history.items() if values}
            self.callbacks.call("on_train_end", last)
        return self.history

    # Checkpoints

    def _call(self, training, validation):
        """What must be the same when the run goes on."""
        kept = ("seed", "batch_size", "patience")
        call = {name: getattr(self.settings, name) for name in kept}
        call["backend"] = keras.backend.backend()
        call["loss"] = describe.loss(self.loss)
        call["preprocess"] = "given" if self.prepare.preprocess is not None else None
        call["augment"] = "given" if self.prepare.augment is not None else None
        call["validation_data"] = None if validation is None else "given"
        call["size of data"] = training.size
        call["callbacks"] = self.callbacks.names
        return call

    def _find(self, folder, call, optimizer):
        """(path, arrays, record) of the last checkpoint, if it is one of this run, or None."""
        self.callbacks.require_resumable()
        self.folder = checkpoints.prepare(folder)
        checkpoints.remove_unfinished(self.folder)
        path = checkpoints.latest(self.folder)
        if path is None:
            return None
        saved, record = checkpoints.read(path)
        variables = steps.signature(self.model, self.optimizer)
        kinds = optimizers.without_rates
        found = (
            describe.differences(record["call"], call)
            or _of_another(record["variables"], variables, "model")
            or describe.differences(kinds(record["optimizer"]), kinds(optimizer), "optimizer")
            or _of_another(record["variables"], variables, "optimizer")
        )
        if found:
            raise ValueError(
                f"checkpoint {path} is of a run with {found[0]}, this one has {found[1]}."
            )
        return saved, record

    def _restore(self, saved, record):
        """Puts everything back; what callbacks did when training began is undone by it."""
        variables = steps.variables(self.model, self.optimizer)
        for variable, array in zip(variables, saved, strict=False):
            variable.assign(array)
        given = self.described["optimizer"]
        optimizers.take_rates(self.optimizer, record["optimizer"], given)
        best = saved[len(variables) : len(variables) + record["best"]]
        self.best = best or None
        self.callbacks.restore(record["callbacks"], saved)
        steps.restore_torch_generators(record["generators"])
        self.totals = Totals(record["totals"])
        self.model.stop_training = record["stopped"]
        for name in ("epoch", "batch", "step", "history", "best_epoch"):
            setattr(self, name, record[name])

    def _save(self):
        if self.folder is None:
            return
        variables = steps.variables(self.model, self.optimizer)
        saved = [np.asarray(ops.convert_to_numpy(v)) for v in variables] + (self.best or [])
        record = dict(self.described)
        record["variables"] = steps.signature(self.model, self.optimizer)
        record["callbacks"] = self.callbacks.states(saved)
        record["best"] = len(self.best or [])
        record["generators"] = steps.torch_generators()
        record["totals"] = self.totals.record()
        record["stopped"] = bool(self.model.stop_training)
        for name in ("epoch", "batch", "step", "history", "best_epoch"):
            record[name] = getattr(self, name)
        checkpoints.write(self.folder, saved, record)

    # Epochs

    def _train_epoch(self, training):
        show = _Shown(self.settings, training.count, self.epoch)
        if not self.batch:
            self.callbacks.call("on_epoch_begin", self.epoch, {})
        for index, batch in enumerate(training.epoch((self.settings.seed, self.epoch))):
            if index < self.batch:
                continue
            if self.batch and self.model.stop_training:
                break
            self._train_batch(index, batch)
            show.batch(index, self.totals)
            if self.settings.save_every and self.step % self.settings.save_every == 0:
                self._save()
        if not self.totals.images:
            raise ValueError("data has no batches.")

    def _train_batch(self, index, batch):
        self.callbacks.call("on_train_batch_begin", index, {})
        x, y, weights = self.prepare(batch, (self.epoch, index))
        if weights is not None:
            require_weights(self.loss)
        results = self.training_step(x, y, weights)
        self.batch, self.step = index + 1, self.step + 1
        self._add(self.totals, x, y, results, f"step {self.step}, batch {index}")
        self.callbacks.call("on_train_batch_end", index, self.totals.means())

    def _validate(self, validation):
        totals = Totals()
        self.callbacks.call("on_test_begin", {})
        for index, batch in enumerate(validation.epoch(None)):
            self.callbacks.call("on_test_batch_begin", index, {})
            x, y, weights = self.prepare(batch)
            results = self.evaluation_step(x, y, weights)
            self._add(totals, x, y, results, f"validation batch {index}")
            self.callbacks.call("on_test_batch_end", index, totals.means())
        if not totals.images:
            raise ValueError("validation_data has no batches.")
        self.callbacks.call("on_test_end", totals.means())
        return totals.means()

    def _add(self, totals, x, y, results, place):
        """Adds a batch to the totals, if its loss is a number that means something."""
        loss = float(ops.convert_to_numpy(results[0]))
        is_finite = bool(ops.convert_to_numpy(results[2]))
        if not math.isfinite(loss) or not is_finite:
            what = f"The loss is {loss}" if not math.isfinite(loss) else "The images are not finite"
            raise FloatingPointError(
                f"{what} at {place} of epoch {self.epoch} (batches and epochs counted from 0)."
                f"{'' if is_finite else ' The images hold NaN or infinity.'} The weights may be "
                f"spoiled; {self._kept()}."
            )
        totals.add(len(arrays(x)[0]), y, loss, results[1])

    def _end_epoch(self, validation):
        logs = self.totals.means()
        if validation is not None:
            logs |= {f"val_{name}": value for name, value in self._validate(validation).items()}
        self.callbacks.call("on_epoch_end", self.epoch, logs)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.settings.verbose:
            shown = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
            print(f"epoch {self.epoch + 1}: {shown}")
        losses = self.history.get("val_loss", [])
        if self.settings.patience is not None and losses[-1] == min(losses):
            self.best, self.best_epoch = self.model.get_weights(), self.epoch
        self.epoch, self.batch, self.totals = self.epoch + 1, 0, Totals()
        self._save()

    def _is_over(self):
        """Whether patience or a callback ends the run before its last epoch."""
        patience = self.settings.patience
        is_patient = patience is None or self.epoch <= self.best_epoch + patience
        return self.model.stop_training or not is_patient

    def _kept(self):
        path = checkpoints.latest(self.folder) if self.folder is not None else None
        return "there is no checkpoint" if path is None else f"the last checkpoint is {path}"

    def _where(self):
        return f"at step {self.step}, batch {self.batch} of epoch {self.epoch}; {self._kept()}."


class _Shown:
    """The progress bar of an epoch, where one is asked for."""

    def __init__(self, settings, count, epoch):
        self.bar = None
        if settings.verbose == 1:
            print(f"Epoch {epoch + 1}/{settings.epochs}")
            self.bar = keras.utils.Progbar(count, stateful_metrics=("loss", "accuracy"))

    def batch(self, index, totals):
        if self.bar is not None:
            self.bar.update(index + 1, list(totals.means().items()))


def _of_another(there, here, owner):
    """The first variable of model or optimizer that is not the same, as two texts, or None."""
    lists = [[v for v in found if v[0] == owner] for found in (there, here)]
    for i in range(max(map(len, lists))):
        pair = [found[i] if i < len(found) else None for found in lists]
        if pair[0] != pair[1]:
            return tuple(f"variable {i} of the {owner}: {kind}" for kind in pair)
    return None


@contextlib.contextmanager
def _showing(model, optimizer):
    """Callbacks find the optimizer in the model, as in `fit`."""
    before = getattr(model, "optimizer", None)
    model.optimizer = optimizer
    try:
        yield
    finally:
        if before is None:
            del model.optimizer
        else:
            model.optimizer = before

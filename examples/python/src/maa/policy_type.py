"""The description of a policy network, as maa::MlpNetwork is one."""

from dataclasses import dataclass

from . import _native
from .errors import Error, require


def _list(text):
    return tuple(part for part in text.strip("[]").split(", "))


def _integers(text):
    return tuple(int(part) for part in _list(text))


@dataclass(frozen=True)
class PolicyType:
    """`heads`: mean or mean_and_log_std. `squash`: what gives actions of the mean, before the action box: none, tanh
    or clip. `hidden` and `activations`: one for each hidden layer."""

    observations: int
    actions: int
    hidden: tuple
    activations: tuple
    heads: str = "mean"
    squash: str = "tanh"

    @staticmethod
    def built():
        """That of Policy and Generator: the one that the package was built for."""
        return PolicyType.read(_native.structure(), "maa: ")

    @staticmethod
    def read(texts, what):
        """Of metadata(), without its prefix. Error, with `what` before it, if any of it is missing or no such value."""
        kinds = {"observations": int, "actions": int, "hidden": _integers, "activations": _list, "heads": str, "squash": str}
        values = []
        for name, read in kinds.items():
            require(name in texts, what, "expected 'policy.", name, "', found ", sorted(texts))
            try:
                values.append(read(texts[name]))
            except ValueError:
                raise Error(f"{what}policy.{name}: expected numbers, found '{texts[name]}'") from None
        return PolicyType(*values)

    def metadata(self):
        """What files say of it."""
        return {
            "policy.observations": str(self.observations),
            "policy.actions": str(self.actions),
            "policy.hidden": "[" + ", ".join(str(size) for size in self.hidden) + "]",
            "policy.activations": "[" + ", ".join(self.activations) + "]",
            "policy.heads": self.heads,
            "policy.squash": self.squash,
        }

    @property
    def has_log_std(self):
        return self.heads == "mean_and_log_std"

    def tensors(self):
        """(name, shape) of each tensor in the order of the flat weights."""
        result = []

        def linear(name, inputs, outputs):
            result.extend([(name + ".weight", (outputs, inputs)), (name + ".bias", (outputs,))])

        sizes = (self.observations, *self.hidden)
        for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
            linear(f"layers.{i}", inputs, outputs)
        for head in ("mean", "log_std") if self.has_log_std else ("mean",):
            linear(head, sizes[-1], self.actions)
        return result

    @property
    def parameters(self):
        return sum(shape[0] * (shape[1] if len(shape) == 2 else 1) for _, shape in self.tensors())

    def split(self, weights):
        """The tensors by name, as views of flat weights."""
        require(weights.size == self.parameters, "expected ", self.parameters, " weights, found ", weights.size)
        result, first = {}, 0
        for name, shape in self.tensors():
            size = shape[0] * (shape[1] if len(shape) == 2 else 1)
            result[name] = weights[first : first + size].reshape(shape)
            first += size
        return result

"""Generators of the policy type that the package was built for."""

import json
import os
import tempfile
from pathlib import Path

from . import _native
from .dataset import Dataset
from .errors import require
from .policy_type import PolicyType
from .trajectory import Trajectory


def _texts(options):
    """Values as the library writes them: true, 0.5, [1, 2], a name as it is."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=lambda x: x.tolist())
        for name, value in options.items()
    }


def _shown(found):
    """A trajectory, its path, or a pair of observations and actions, as the compiled part takes it."""
    if isinstance(found, (str, Path)):
        found = Trajectory.load(found)
    elif isinstance(found, tuple):
        require(len(found) == 2, "expected observations and actions, found ", len(found), " arrays")
        found = Trajectory(*found)
    require(
        isinstance(found, Trajectory),
        "expected a maa.Trajectory, a path, or (observations, actions), found ",
        type(found).__name__,
    )
    return found.observations, found.actions, found.success_step


class Generator:
    """Behaviour in, policies out. Threads may generate at once; fit wants the generator for itself. fit and generate
    release the GIL. `threads`: 0: one per core."""

    def __init__(self, threads=0):
        self._native = _native.Generator(threads)

    @staticmethod
    def load(path, threads=0):
        generator = Generator(threads)
        generator._native.load(path)
        return generator

    def save(self, path):
        self._native.save(path)

    @property
    def trained(self):
        return self._native.trained

    def fit(self, dataset, callback=None, options={}, checkpoint=None, checkpoint_every=500):
        """Trains on a Dataset, or the file of one. `callback(stage, step, steps, loss)` is called after each step; False
        stops. `options` by name: those of fit_options(). `checkpoint`: a file from which a rerun goes on, to the same
        bits; remove it when the generator is saved. False if it was stopped."""
        arguments = (_texts(options), callback, checkpoint or "", checkpoint_every)
        if not isinstance(dataset, Dataset):
            return self._native.fit(dataset, *arguments)
        built = PolicyType.built()
        for name in PolicyType.__dataclass_fields__:
            expected, found = getattr(built, name), getattr(dataset.type, name)
            require(found == expected, "fit: expected a data set with ", name, " ", expected, ", found ", found)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "dataset.safetensors")
            dataset.save(path)
            return self._native.fit(path, *arguments)

    def generate(self, demonstrations, count=1, seed=0, options={}):
        """`count` policies that behave like the demonstration: a Trajectory, its path, (observations, actions), or a list
        of those of one behaviour. `options` by name: those of generate_options()."""
        many = demonstrations if isinstance(demonstrations, list) else [demonstrations]
        own = {"count": count, "seed": seed}
        for name in ("demonstrations_per_prompt", *own):
            require(name not in options, "generate: expected '", name, "' not among options, found it there")
        return self._native.generate([_shown(found) for found in many], _texts({**own, **options}))

    def looked_up(self, policy):
        """Whether a policy is one of the data set, which generate gives where it acts more like the demonstration than what
        it would generate (the option look_up; fit's keep_policies)."""
        return self._native.looked_up(policy)

    def novelty(self, demonstrations):
        """How unlike the prompts of training each demonstration of the list is; up to 1: like them."""
        many = demonstrations if isinstance(demonstrations, list) else [demonstrations]
        return self._native.novelty([_shown(found) for found in many])


def fit_options():
    """Names and default values of what Generator.fit takes (BehaviorRecipe), as text."""
    return _native.fit_options()


def generate_options():
    """Names and default values of what Generator.generate takes (GenerateOptions), as text."""
    return _native.generate_options()

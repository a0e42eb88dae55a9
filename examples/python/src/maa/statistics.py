"""What networks read of observations x: clip((x - mean) * scale, -clip, clip)."""

from dataclasses import dataclass

import numpy as np

from .errors import Error, require


def numbers(values, what, size=None):
    """As a float64 vector; Error, which names `what`, unless there are `size` finite ones."""
    try:
        result = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise Error(f"{what}: expected numbers, found {type(values).__name__}") from None
    require(size is None or result.size == size, what, ": expected ", size, " numbers, found ", result.size)
    require(np.isfinite(result).all(), what, ": expected finite numbers, found NaN or infinity")
    return result


@dataclass(frozen=True, eq=False)
class Statistics:
    mean: np.ndarray
    scale: np.ndarray
    clip: float = np.inf

    def __post_init__(self):
        object.__setattr__(self, "mean", numbers(self.mean, "mean"))
        object.__setattr__(self, "scale", numbers(self.scale, "scale", self.mean.size))
        require((self.scale > 0).all(), "scale: expected positive numbers, found ", self.scale.min())
        require(self.clip > 0, "clip: expected a positive number, found ", self.clip)

    @staticmethod
    def of(mean, variance, epsilon=1e-8, clip=np.inf):
        """scale = 1 / sqrt(variance + epsilon): VecNormalize, gymnasium's NormalizeObservation, Brax."""
        variance = numbers(variance, "variance")
        require((variance + epsilon > 0).all(), "variance: expected positive numbers, found ", variance.min())
        return Statistics(mean, 1 / np.sqrt(variance + epsilon), clip)

    @staticmethod
    def of_deviation(mean, deviation, epsilon=1e-2, clip=np.inf):
        """scale = 1 / (deviation + epsilon): rsl_rl's EmpiricalNormalization."""
        deviation = numbers(deviation, "deviation")
        require((deviation + epsilon > 0).all(), "deviation: expected positive numbers, found ", deviation.min())
        return Statistics(mean, 1 / (deviation + epsilon), clip)

    @staticmethod
    def read(found):
        """Of a Statistics, a dict with mean, variance, epsilon and clip, or an object like a VecNormalize (`obs_rms`);
        None of None and False. A path is refused: VecNormalize's file is a pickle, which may run anything."""
        if found is None or found is False or isinstance(found, Statistics):
            return found or None
        if isinstance(found, dict):
            known = {"mean", "variance", "epsilon", "clip"}
            for key in ("mean", "variance"):
                require(key in found, "statistics: expected the key '", key, "', found ", sorted(found))
            require(known >= set(found), "statistics: expected the keys ", sorted(known), ", found ", sorted(found))
            return Statistics.of(**found)
        if hasattr(found, "obs_rms"):
            if not getattr(found, "norm_obs", True):
                return None
            rms = found.obs_rms
            require(
                hasattr(rms, "var"),
                "obs_rms: expected those of one array of observations, found ",
                type(rms).__name__,
            )
            return Statistics.of(rms.mean, rms.var, found.epsilon, getattr(found, "clip_obs", np.inf))
        raise Error(
            "statistics: expected a maa.Statistics, a dict with mean and variance, or a VecNormalize that was loaded "
            f"(its file is a pickle, which is not read), found {type(found).__name__}"
        )

    def same(self, other):
        return (
            np.array_equal(self.mean, other.mean)
            and np.array_equal(self.scale, other.scale)
            and self.clip == other.clip
        )

    @staticmethod
    def common(many):
        """Of all runs together: the mean and variance over all of them; theirs, if they are equal."""
        if all(one.same(many[0]) for one in many):
            return many[0]
        means = np.stack([one.mean for one in many])
        variance = np.mean([one.scale**-2 for one in many], axis=0) + means.var(axis=0)
        return Statistics(means.mean(axis=0), 1 / np.sqrt(variance), max(one.clip for one in many))

    def apply(self, observations):
        return np.clip((observations - self.mean) * self.scale, -self.clip, self.clip)

# What the bridge asks of MetaWorld, in Python: the bridge runs this text in its interpreter, after python_bridge/common.py.
# Observations and actions pass through two arrays that both sides hold.
import collections
import warnings

warnings.simplefilter("ignore")  # the experts warn of actions that are clipped, in most steps

import gymnasium
import metaworld
from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE as ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP as EXPERTS

VERSIONS = versions("metaworld", gymnasium)

SUFFIX = "-v3-goal-observable"
TASKS = sorted(name.removesuffix(SUFFIX) for name in ENVIRONMENTS)

# Placements of two positions are redrawn by the package until the positions are this far apart in the plane. A pinned
# placement that is nearer would keep its reset_model() in an endless loop.
LEAST_DISTANCE = {
    **dict.fromkeys(
        ["assembly", "disassemble", "peg-insert-side", "shelf-place", "stick-pull", "stick-push"], 0.1),
    **dict.fromkeys(
        ["basketball", "coffee-pull", "coffee-push", "hand-insert", "pick-out-of-hole", "pick-place", "pick-place-wall",
         "push", "push-back", "push-wall", "reach", "reach-wall", "soccer", "sweep-into"], 0.15),
    "box-close": 0.25,
}  # fmt: skip

# The experts of these tasks bring the hand to the goal, but success is measured at the tool centre below it.
AIMED_WITH_HAND = {"reach", "reach-wall"}
TOOL_CENTRE_BELOW_HAND = 0.045
GOAL_HEIGHT = 38  # column of the observation

# Scenes kept per task: evaluations come back to the same ones.
KEPT_SCENES = 1024

class Task:
    """One task; reset, step and expert work on `observation` and `action`."""

    def __init__(self, name, hand):
        self.name = name
        env = self.env = ENVIRONMENTS[name + SUFFIX](seed=0)
        env.max_path_length = sys.maxsize  # who records an episode may go on a little after step 500
        space = env._random_reset_space
        self.low, self.high = space.low.copy(), space.high.copy()
        self.expert_policy = EXPERTS[name + "-v3"]()
        self.raise_goal = TOOL_CENTRE_BELOW_HAND if name in AIMED_WITH_HAND and not hand else 0.0
        self.action = np.zeros(4, np.float32)
        self.observation = np.zeros(39, np.float32)
        self.exact_observation = None  # in float64, as the experts are asked
        env._get_state_rand_vec = self.pinned_vector
        self.scenes = collections.OrderedDict()

    def refusal(self, placement):
        """Why the package would not use the placement, or ""."""
        if len(placement) != len(self.low):
            return f"a placement has {len(self.low)} numbers, got {len(placement)}"
        for i, value in enumerate(placement):
            if not self.low[i] <= value <= self.high[i]:  # also NaN
                return f"number {i} of a placement lies in [{self.low[i]:.6g}, {self.high[i]:.6g}], got {value:.6g}"
        distance, least = self.distance(np.array(placement)), LEAST_DISTANCE.get(self.name, 0.0)
        if distance < least:
            return f"the two positions of a placement are at least {least} apart in the plane, got {distance:.6g}"
        return ""

    def distance(self, vector):
        if self.name not in LEAST_DISTANCE:
            return 0.0
        other = self.env.goal[:2] if self.name == "sweep-into" else vector[3:5]
        return np.linalg.norm(vector[:2] - other)

    def draw_placement(self, seed):
        """What a reset of the package after numpy.random.seed(seed) draws. (Not always in soccer, where the package may
        draw a pair that it would not take when pinned.)"""
        generator = np.random.RandomState(seed_of(seed))
        least = LEAST_DISTANCE.get(self.name, 0.0)
        for _ in range(2):  # a reset of the package draws twice
            vector = generator.uniform(self.low, self.high, size=self.low.size)
            while self.distance(vector) < least:
                vector = generator.uniform(self.low, self.high, size=self.low.size)
        return vector.tolist()

    def reset(self, placement):
        key = tuple(placement)
        scene = self.scenes.get(key)
        if scene is None:
            self.reset_by_simulation(placement)
            self.scenes[key] = self.kept_scene()
            if len(self.scenes) > KEPT_SCENES:
                self.scenes.popitem(last=False)
        else:
            self.scenes.move_to_end(key)
            self.restore(scene)

    def pin(self, placement):
        self.pinned = np.array(placement)
        self.env._last_rand_vec = self.pinned
        self.env._freeze_rand_vec = True

    def pinned_vector(self):
        if self.pinned_vector_used:
            raise RuntimeError("the package rejects this placement")  # it would ask for ever
        self.pinned_vector_used = True
        return self.pinned

    def reset_model(self):
        """What the package's reset() comes down to: nothing of the earlier state is left, but for where the bodies are."""
        self.pinned_vector_used = False
        mujoco.mj_resetData(self.env.model, self.env.data)
        return self.env.reset_model()

    def reset_by_simulation(self, placement):
        """As two resets of the package, to the bit, at a quarter of the cost: each of those calls reset_model() twice,
        with a mj_resetData() between, and so leaves nothing of the first call. The first reset is needed because it
        moves the model's bodies, often after having looked where they are; for that the hand need not settle."""
        env = self.env
        self.pin(placement)
        env._reset_hand = self.place_without_settling
        try:
            self.reset_model()
        finally:
            del env._reset_hand
        observation = self.reset_model()
        env.curr_path_length = 0
        env._prev_obs = observation[:18].copy()
        observation[18:36] = env._prev_obs
        self.show(observation)

    def place_without_settling(self):
        mujoco.mj_forward(self.env.model, self.env.data)
        self.env.init_tcp = self.env.tcp_center

    # References for the two shortcuts.

    def reset_by_package(self, placement):
        self.pin(placement)
        del self.env._get_state_rand_vec
        for _ in range(2):
            observation, _ = self.env.reset()
        self.env._get_state_rand_vec = self.pinned_vector
        self.show(observation)

    def draw_placement_by_package(self, seed):
        del self.env._get_state_rand_vec
        self.env._freeze_rand_vec = False
        np.random.seed(seed_of(seed))
        self.env.reset()
        self.env._freeze_rand_vec = True
        self.env._get_state_rand_vec = self.pinned_vector
        return self.env._last_rand_vec.tolist()

    def kept_scene(self):
        """All that a reset leaves behind: the package changes no other part of the model."""
        env = self.env
        state = np.zeros(mujoco.mj_stateSize(env.model, STATE))
        mujoco.mj_getState(env.model, env.data, state, STATE)
        return state, env.model.body_pos.copy(), env.model.site_pos.copy(), dict(env.__dict__), self.exact_observation

    def restore(self, scene):
        env = self.env
        state, env.model.body_pos[:], env.model.site_pos[:], attributes, observation = scene
        mujoco.mj_resetData(env.model, env.data)
        mujoco.mj_setState(env.model, env.data, state, STATE)
        env.__dict__.clear()
        env.__dict__.update(attributes)
        self.show(observation)

    def step(self):
        observation, reward, _, _, info = self.env.step(np.clip(self.action, -1.0, 1.0))
        self.show(observation)
        return bool(info["success"]), float(reward) / 10  # of at most 10

    def show(self, observation):
        self.exact_observation = observation
        self.observation[:] = observation

    def expert_action(self):
        observation = self.exact_observation.copy()  # some experts write into what they are given
        observation[GOAL_HEIGHT] += self.raise_goal
        self.action[:] = np.clip(self.expert_policy.get_action(observation), -1.0, 1.0)

    def render(self, width, height):
        return draw(self.env.model, self.env.data, width, height, CAMERA)


# One view for all tasks: from the robot's right, where its arm hides least. (The package's cameras hang upside down.)
CAMERA = camera([0.0, 0.67, 0.16], 1.15, 155, -28)

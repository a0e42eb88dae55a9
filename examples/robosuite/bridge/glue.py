# What the bridge asks of robosuite, in Python: the bridge runs this text in its interpreter, after
# python_bridge/common.py.
import logging

logging.getLogger("robosuite_logs").setLevel(logging.ERROR)  # the package warns of macros and parts it leaves out
import robosuite

VERSIONS = versions("robosuite")

ROBOTS = ("Panda", "Sawyer")
JOINTS = 7
RATE = 20  # control steps per second

# The package's JOINT_POSITION controller, stiffer and with larger steps than its default (50 and 0.05 rad), so that an
# episode takes a third of the steps.
STIFFNESS = 150
STEP = 0.15  # radians that an action of 1 asks for


def controller():
    arm = {"type": "JOINT_POSITION", "input_max": 1, "input_min": -1, "output_max": STEP, "output_min": -STEP,
           "kp": STIFFNESS, "damping_ratio": 1, "impedance_mode": "fixed", "kp_limits": [0, 300],
           "damping_ratio_limits": [0, 10], "qpos_limits": None, "interpolation": None, "ramp_ratio": 0.2,
           "gripper": {"type": "GRIP"}}  # fmt: skip
    return {"type": "BASIC", "body_parts": {"right": arm}}


class Source:
    """The environment's random numbers: what the package asks for in a reset, in turn."""

    def __init__(self, generator):
        self.generator = generator
        self.asked = []  # of each number: its limits, or None where it is normal
        self.given = []
        self.pinned = None

    def answer(self, limits, draw, size=1):
        if self.pinned is None:
            values = draw()
        else:
            values = self.pinned[len(self.given) : len(self.given) + size]
            if len(values) < size:
                raise RuntimeError("the package asks for more random numbers than a placement has")
        values = np.atleast_1d(np.asarray(values, float))
        self.asked += [limits] * size
        self.given += values.tolist()
        return values

    def uniform(self, low=0.0, high=1.0):
        return self.answer((low, high), lambda: self.generator.uniform(low=low, high=high))[0]

    def standard_normal(self, size):
        return self.answer(None, lambda: self.generator.standard_normal(size), size)

    def begin(self, pinned):
        self.asked, self.given, self.pinned = [], [], pinned


MOST_DEVIATIONS = 6.0  # of a normal number in a placement


# From the robot's left and front; group 0 is what collides, which the package does not draw.
CAMERA = camera([-0.05, 0.0, 0.95], 1.6, 150, -25)
SHOWN = mujoco.MjvOption()
SHOWN.geomgroup[0] = 0


class Task:
    """One task with one robot; reset, step and expert work on `observation` and `action`."""

    def __init__(self, name):
        robot, task = name.split("-")
        self.kind = KINDS[task]
        env = self.env = robosuite.make(
            task, robots=robot, controller_configs=controller(), has_renderer=False, has_offscreen_renderer=False,
            use_camera_obs=False, ignore_done=True, hard_reset=False, control_freq=RATE, seed=0, renderer="mujoco")  # fmt: skip
        self.source = Source(np.random.default_rng(0))
        env.rng = self.source
        env.placement_initializer.rng = self.source
        env.reset()
        self.asked = self.source.asked
        # The package would compute all of its observations in every substep; ours is read from the state.
        env._update_observables = lambda force=False: None
        env._get_observations = lambda force_update=False: {}
        self.as_package = False
        self.model, self.data = env.sim.model._model, env.sim.data._data
        arm = env.robots[0]
        if robot == "Sawyer":
            # Its first link touches its base at a distance of 0: by rounding a contact, whose friction jams joint 0.
            base = env.sim.model.geom_name2id("robot0_base_col")
            self.model.geom_contype[base] = self.model.geom_conaffinity[base] = 0
        self.joints = np.array(arm._ref_joint_pos_indexes)
        self.velocities = np.array(arm._ref_joint_vel_indexes)
        self.fingers = np.array(arm._ref_gripper_joint_pos_indexes["right"])
        self.finger_velocities = np.array(arm._ref_gripper_joint_vel_indexes["right"])
        self.site = arm.eef_site_id["right"]
        self.hand = env.sim.model.body_name2id(arm.robot_model.eef_name["right"])
        self.rest = np.array(arm.init_qpos)
        self.motors = np.array(arm._ref_actuators_indexes_dict["right"])
        self.finger_motors = np.array(arm._ref_actuators_indexes_dict["right_gripper"])
        self.substeps = int(env.control_timestep / env.model_timestep)
        self.mass = np.zeros((self.model.nv, self.model.nv))
        self.jacobian = np.zeros((6, self.model.nv))
        self.action = np.zeros(JOINTS + 1, np.float32)
        self.observation = np.zeros(41, np.float32)

    # Placements: the numbers that the package draws in a reset, in its order.

    def refusal(self, placement):
        """Why the package would not use the placement, or ""."""
        if len(placement) != len(self.asked):
            return f"a placement has {len(self.asked)} numbers, got {len(placement)}"
        for i, (value, limits) in enumerate(zip(placement, self.asked)):
            low, high = limits or (-MOST_DEVIATIONS, MOST_DEVIATIONS)
            if not low <= value <= high:  # also NaN
                return f"number {i} of a placement lies in [{low:.6g}, {high:.6g}], got {value:.6g}"
        return ""

    def draw_placement(self, seed):
        """What a reset of the package draws from numpy.random.default_rng(seed)."""
        generator = np.random.default_rng(seed_of(seed))
        return [float(generator.standard_normal()) if limits is None else generator.uniform(low=limits[0], high=limits[1])
                for limits in self.asked]  # fmt: skip

    def reset(self, placement):
        self.source.begin(placement)
        self.env.reset()
        self.first = True
        self.show()

    # References for tests: the package's own draws, steps and observations.

    def draw_placement_by_package(self, seed):
        self.source.begin(None)
        self.source.generator = np.random.default_rng(seed_of(seed))
        self.env.reset()
        return self.source.given

    def reset_by_package(self, placement):
        self.as_package = True
        for name in ("_update_observables", "_get_observations"):
            vars(self.env).pop(name, None)
        self.reset(placement)

    def step(self):
        action = np.clip(self.action, -1.0, 1.0).astype(float)
        if self.as_package or self.first:  # in the first step the package's controller knows an earlier mass matrix
            self.env.step(action)
            self.first = False
        else:
            self.step_quickly(action)
        self.show()
        return bool(self.env._check_success()), 0.0

    def step_quickly(self, action):
        """As the package's step, to the bit, at a third of the cost: its JOINT_POSITION controller without what only others
        need. A list in the place of an index or another order of the products would change bits."""
        model, data, arm = self.model, self.data, self.env.robots[0]
        controllers = arm.composite_controller.part_controllers
        control, grip = controllers["right"], controllers["right_gripper"]
        change = control.scale_action(action[:JOINTS])
        grip.set_goal(arm.gripper["right"].format_action(action[JOINTS:]))
        limits = model.actuator_ctrlrange
        fingers = np.clip(grip.run_controller(), limits[self.finger_motors, 0], limits[self.finger_motors, 1])
        low, high = limits[self.motors, 0], limits[self.motors, 1]
        goal = None
        for _ in range(self.substeps):
            mujoco.mj_step1(model, data)
            position, speed = data.qpos[self.joints], data.qvel[self.velocities]
            if goal is None:
                goal = position + change
            mujoco.mj_fullM(model, self.mass, data.qM)
            mass = self.mass[self.velocities, :][:, self.velocities]
            wanted = np.multiply(goal - position, control.kp) + np.multiply(-speed, control.kd)
            torques = np.dot(mass, wanted) + data.qfrc_bias[self.velocities]
            data.ctrl[self.motors] = np.clip(torques, low, high)
            data.ctrl[self.finger_motors] = fingers
            mujoco.mj_step2(model, data)

    def show(self):
        data, observation = self.data, self.observation
        position = data.qpos[self.joints]
        effector = data.site_xpos[self.site]
        at, auxiliary = self.kind.seen(self)
        w, x, y, z = data.xquat[self.hand]
        observation[0:7] = np.cos(position)
        observation[7:14] = np.sin(position)
        observation[14:21] = data.qvel[self.velocities]
        observation[21:24] = effector
        observation[24:28] = x, y, z, w
        observation[28:30] = data.qpos[self.fingers]
        observation[30:32] = data.qvel[self.finger_velocities]
        observation[32:35] = at
        observation[35:38] = at - effector
        observation[38:41] = auxiliary

    def render(self, width, height):
        return draw(self.model, self.data, width, height, CAMERA, SHOWN)

    # Experts: a waypoint for the gripper, and the joints' way to it.

    def expert_action(self):
        target, rotation, close = self.kind.waypoint(self)
        self.action[:JOINTS] = self.towards(target, rotation)
        self.action[JOINTS] = 1.0 if close else -1.0

    def towards(self, target, rotation):
        """Damped least squares on the pose's error; what is left of the joints' freedom returns to their start."""
        data = self.data
        mujoco.mj_jacSite(self.model, data, self.jacobian[:3], self.jacobian[3:], self.site)
        jacobian = self.jacobian[:, self.velocities]
        error = np.zeros(6)
        error[:3] = limited(target - data.site_xpos[self.site], FURTHEST)
        error[3:] = limited(rotation_between(data.site_xmat[self.site].reshape(3, 3), rotation), WIDEST_TURN)
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + DAMPING**2 * np.eye(6))
        position = data.qpos[self.joints]
        move = inverse @ (GAIN * error)
        move += (np.eye(JOINTS) - inverse @ jacobian) @ (POSTURE_GAIN * (self.rest - position))
        action = move / STEP
        return action / max(1.0, np.abs(action).max())


DAMPING = 0.05
GAIN = 2.0
POSTURE_GAIN = 0.2
WIDEST_TURN = 0.2  # radians of error at once
FURTHEST = 0.1  # metres of error at once


def limited(vector, most):
    length = np.linalg.norm(vector)
    return vector * (most / length) if length > most else vector


def rotation_between(now, wanted):
    """The rotation vector, in the world's axes, for angles below a half turn."""
    difference = wanted @ now.T
    axis = 0.5 * np.array([difference[2, 1] - difference[1, 2], difference[0, 2] - difference[2, 0],
                           difference[1, 0] - difference[0, 1]])  # fmt: skip
    sine = np.linalg.norm(axis)
    cosine = 0.5 * (np.trace(difference) - 1.0)
    return axis * (np.arctan2(sine, cosine) / sine) if sine > 1e-9 else axis


# The gripper points down, its fingers open along y.
DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


# A task's kind: what it shows in the observation, and its expert's waypoint: where to, how the gripper is held, and whether
# it closes; a function of the observation.


class Lift:
    HEIGHT = 0.8  # of the table

    @staticmethod
    def seen(task):
        cube = task.data.xpos[task.env.cube_body_id]
        return cube, (0.0, 0.0, cube[2] - Lift.HEIGHT)

    @staticmethod
    def waypoint(task):
        cube = task.data.xpos[task.env.cube_body_id]
        offset = cube - task.data.site_xpos[task.site]
        aside = np.linalg.norm(offset[:2])
        if aside > 0.02:
            above = cube + [0.0, 0.0, min(0.06, 2.0 * aside)]
            return above, DOWN, False
        if offset[2] < -0.012:
            return cube - [0, 0, 0.01], DOWN, False
        return cube + [0.0, 0.0, 0.15 * holding(task)], DOWN, True


def holding(task):
    """1 where closed fingers are at rest, 0 where they move: a continuous function of the observation."""
    speed = np.abs(task.data.qvel[task.finger_velocities]).max()
    return float(np.clip(2.0 - speed / 0.01, 0.0, 1.0))


class Door:
    @staticmethod
    def seen(task):
        env = task.env
        return task.data.site_xpos[env.door_handle_site_id], (
            task.data.qpos[env.hinge_qpos_addr], task.data.qpos[env.handle_qpos_addr], 0.0)  # fmt: skip

    @staticmethod
    def waypoint(task):
        handle, (hinge, latch, _) = Door.seen(task)
        offset = handle - task.data.site_xpos[task.site]
        aside, far = np.linalg.norm(offset - Door.APPROACH * (offset @ Door.APPROACH)), np.linalg.norm(offset)
        if far < 0.02 or (far < 0.06 and (latch > 0.2 or hinge > 0.02)):  # down along the handle's circle, then open
            turn = 0.1 * np.clip((1.5 - latch) / 0.3, 0.2, 1.0) * holding(task)
            pull = np.clip((latch - 1.0) / 0.2, 0.0, 1.0) if hinge < 0.1 else 1.0
            way = turn * np.array([np.sin(latch), 0.0, -np.cos(latch)])
            return handle + way + pull * np.array([-0.012, 0.048, 0.0]), Door.held(latch), True
        return handle + Door.APPROACH * min(0.08, max(0.0, 3.0 * (aside - 0.015))), Door.held(latch), False

    # Tilted away from the door, which a wide hand would touch, and turning with the handle, so that it is not lost.
    TILT = 1.0
    APPROACH = np.array([0.0, np.sin(TILT), np.cos(TILT)])

    @staticmethod
    def held(latch):
        angle = 0.6 * np.clip(latch, 0.0, 1.25)
        c, s = np.cos(angle), np.sin(angle)
        away = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(Door.TILT), np.sin(Door.TILT)],
                         [0.0, -np.sin(Door.TILT), np.cos(Door.TILT)]])  # fmt: skip
        return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]]) @ away @ DOWN


KINDS = {"Lift": Lift, "Door": Door}
TASKS = [f"{robot}-{task}" for robot in ROBOTS for task in KINDS]

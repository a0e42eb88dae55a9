# What the simulators' texts share: run before each of them. MuJoCo's drawing, versions, seeds.
import ctypes
import importlib.metadata
import os
import platform
import sys


def drawing_library():
    """MuJoCo's name of an OpenGL library that works without a display. It is to be known before mujoco is imported."""
    try:
        address = ctypes.CDLL("libEGL.so.1").eglGetProcAddress
        address.restype = ctypes.c_void_p
        query_devices = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(
            address(b"eglQueryDevicesEXT"))  # fmt: skip
        devices = ctypes.c_int()
        if query_devices(0, None, ctypes.byref(devices)) and devices.value > 0:
            return "egl"
    except (OSError, AttributeError, TypeError):
        pass
    try:
        ctypes.CDLL("libOSMesa.so.8")
    except OSError:
        return "off"
    return "osmesa"


DRAWING_LIBRARY = os.environ.setdefault("MUJOCO_GL", drawing_library())

import mujoco
import numpy as np

mujoco.set_mju_user_warning(lambda message: print("MuJoCo:", message, file=sys.stderr))  # not into a file

STATE = mujoco.mjtState.mjSTATE_INTEGRATION


def versions(package, *modules):
    found = {module.__name__: module.__version__ for module in (*modules, mujoco, np)}
    return {**found, package: importlib.metadata.version(package), "python": platform.python_version()}


def seed_of(seed):
    """64 bits as a seed of numpy."""
    return seed if seed < 2**32 else [seed % 2**32, seed // 2**32]


def camera(lookat, distance, azimuth, elevation):
    result = mujoco.MjvCamera()
    result.lookat[:] = lookat
    result.distance, result.azimuth, result.elevation = distance, azimuth, elevation
    return result


def draw(model, data, width, height, view, option=None):
    if DRAWING_LIBRARY == "off":
        raise RuntimeError("rendering needs EGL with Mesa (libegl1, libgl1-mesa-dri) or OSMesa (libosmesa6)")
    # Physics leaves the drawn state behind in places; a copy shows the present one and disturbs nothing.
    copy = mujoco.MjData(model)
    state = np.zeros(mujoco.mj_stateSize(model, STATE))
    mujoco.mj_getState(model, data, state, STATE)
    mujoco.mj_setState(model, copy, state, STATE)
    mujoco.mj_forward(model, copy)
    renderer = renderer_of(model, width, height)
    renderer.update_scene(copy, camera=view, scene_option=option)
    return renderer.render()


_renderer = None  # one at a time: OpenGL contexts are scarce


def renderer_of(model, width, height):
    global _renderer
    if _renderer is None or _renderer[0] is not model or _renderer[1:3] != (width, height):
        if _renderer is not None:
            _renderer[3].close()
            _renderer = None
        visual = model.vis
        visual.global_.offwidth, visual.global_.offheight = width, height
        visual.quality.shadowsize = 1024  # the packages' values take three times as long in software
        visual.quality.offsamples = 2
        _renderer = model, width, height, mujoco.Renderer(model, height, width)
    return _renderer[3]

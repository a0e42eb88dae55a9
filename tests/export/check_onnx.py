"""check_onnx.py FOLDER: that FOLDER/*.onnx are valid and act, under onnxruntime, as FOLDER/*.actions say to within 1e-6.

Exit code 77 without onnxruntime, onnx and NumPy.
"""
import pathlib
import sys

try:
    import numpy
    import onnx
    import onnxruntime
except ImportError as error:
    print(error)
    sys.exit(77)

models = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
assert len(models) >= 4, models
for path in models:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"joint_names": "hip,knee"}
    session = onnxruntime.InferenceSession(path)
    (seen,), (done,) = session.get_inputs(), session.get_outputs()
    assert (seen.name, done.name) == ("obs", "actions")
    observations = numpy.fromfile(path.with_suffix(".observations"), numpy.float32).reshape(-1, seen.shape[1])
    expected = numpy.fromfile(path.with_suffix(".actions"), numpy.float32).reshape(-1, done.shape[1])
    (actions,) = session.run(None, {"obs": observations})
    assert actions.shape == expected.shape == (10000, done.shape[1]), actions.shape
    error = abs(actions - expected).max()
    print(path.stem, error)
    assert error <= 1e-6, error

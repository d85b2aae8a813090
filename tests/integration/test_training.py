"""Training within conversions: real TensorFlow, small networks and the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.recipes.training import Settings
from tests.support.training import Trainings


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    """One process that has imported TensorFlow and forks for each training."""
    with Trainings(tmp_path_factory.mktemp("trainings")) as process:
        yield process


@pytest.fixture(scope="module")
def plain(trainings: Trainings) -> dict[str, Any]:
    """The plain small network, trained with QAT and converted."""
    found: dict[str, Any] = trainings.run("small")
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": float("nan")},
        {"validation": 1.0},
        {"strategy": "horovod"},
        {"weight_bits": 9},
        {"activation_bits": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        Settings(**changes)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_trained_file_is_all_integer_and_answers_as_the_emulation(
    plain: dict[str, Any],
) -> None:
    found = plain
    assert found["full_integer"]
    assert found["agreement"] >= 0.97
    assert not found["needs_calibration"] and found["deployable"] and found["reason"] == ""
    assert found["layers"]["norm"] == ["folded", "into conv by the converter"]
    assert found["evaluation"]["samples"] == 32
    assert found["evaluation"]["training_samples"] == 288
    assert found["evaluation"]["metric"] > 0.9 > found["evaluation"]["float_metric"]


@pytest.mark.slow
def test_progress_tells_epochs_and_the_time_that_remains(plain: dict[str, Any]) -> None:
    told = plain["told"]
    epochs = [item for item in told if item["event"] == "epoch"]
    assert [item["epoch"] for item in epochs] == [1, 2]
    assert epochs[0]["remaining_seconds"] > 0 and epochs[1]["remaining_seconds"] == 0
    steps = [item for item in told if item["event"] == "step"]
    assert steps and all(item["steps"] == 9 and item["epochs"] == 2 for item in steps)


@pytest.mark.slow
def test_two_trainings_give_the_same_bytes(trainings: Trainings) -> None:
    first, second = (trainings.run("small", kind="dropout") for _ in range(2))
    assert first["sha256"] == second["sha256"]
    assert trainings.run("small", kind="dropout", seed=1)["sha256"] != first["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multiply", "separable", "conv_relu", "dense_norm", "logits"])
def test_networks_that_become_all_integer(trainings: Trainings, kind: str) -> None:
    found = trainings.run("small", kind=kind)
    assert found["full_integer"], found["operators"]
    assert found["agreement"] >= 0.95
    assert {status for status, _ in found["layers"].values()} <= {
        "quantized",
        "folded",
        "passed through",
    }


@pytest.mark.slow
def test_one_sigmoid_is_trained_with_binary_crossentropy(trainings: Trainings) -> None:
    found = trainings.run("small", kind="binary")
    assert found["full_integer"]
    assert found["evaluation"]["metric"] > 0.9


@pytest.mark.slow
def test_depthwise_kernels_have_a_scale_for_each_channel(trainings: Trainings) -> None:
    found = trainings.run("unequal_channels")
    assert found["full_integer"]
    ((scales, fewest_values),) = found["depthwise"]
    assert scales == 8
    assert fewest_values >= 8  # of 9: the smallest channel uses its range as the largest does


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "layer", "reason"),
    [
        ("LSTM", "recurrent", "recurrent layers"),
        ("GRU", "recurrent", "recurrent layers"),
        ("attention", "attention", "attention layers"),
        ("custom", "mine", "custom layer"),
        ("nested", "nested", "a model inside the model"),
        ("shared", "shared", "called more than once"),
        ("operation", "tf.nn.elu", "a TensorFlow function"),
        ("elu", "elu", "activation elu"),
        ("unsupported", "alone", "BatchNormalization can be folded only"),
    ],
)
def test_what_cannot_be_emulated_is_named_with_its_reason(
    trainings: Trainings, kind: str, layer: str, reason: str
) -> None:
    found = trainings.run("refused", kind=kind)
    status, said = found["layers"][layer]
    assert status == "unsupported" and reason in said
    assert found["error"] == "ConversionError"
    assert layer in found["text"] and reason in found["text"] and "partial = true" in found["text"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["qat", "prune", "cluster"])
def test_a_lambda_layer_is_not_copied(trainings: Trainings, how: str) -> None:
    found = trainings.run("small", kind="lambda", how=how, partial=True)
    assert found["error"] == "ConversionError"
    assert "Lambda" in found["message"] and "twice" in found["message"]
    status, reason = trainings.run("refused", kind="lambda", partial=True)["layers"]["twice"]
    assert status == "unsupported" and "cannot be left out with partial = true" in reason


@pytest.mark.slow
def test_a_subclassed_model_has_no_graph_of_layers(trainings: Trainings) -> None:
    found = trainings.run("subclassed")
    assert found["status"] == "unsupported"
    assert "has no graph of layers" in found["reason"] and "no graph of layers" in found["text"]


@pytest.mark.slow
def test_partial_trains_what_can_be_and_calibration_does_the_rest(trainings: Trainings) -> None:
    found = trainings.run("small", kind="unsupported", partial=True)
    assert found["needs_calibration"] and "alone" in found["reason"]
    assert found["full_integer"], found["operators"]
    assert found["agreement"] >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["operation", "nested", "shared", "elu", "attention"])
def test_partial_converts_around_what_cannot_be_emulated(trainings: Trainings, kind: str) -> None:
    found = trainings.run("small", kind=kind, partial=True)
    assert found["needs_calibration"] and found["reason"]
    assert found["agreement"] >= 0.9


@pytest.mark.slow
def test_partial_keeps_an_lstm_and_says_so(trainings: Trainings) -> None:
    found = trainings.run("partial_recurrent")
    assert found["layers"]["recurrent"][0] == "unsupported"
    assert found["layers"]["hidden"][0] == "quantized"
    assert "recurrent (LSTM)" in found["reason"]
    assert found["needs_calibration"]


@pytest.mark.slow
def test_partial_with_nothing_to_quantize_is_refused(trainings: Trainings) -> None:
    found = trainings.run("partial_recurrent", head=False)
    assert found["error"] == "ConversionError"
    assert "nothing to quantize" in found["message"] and "recurrent" in found["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("diverges", "not a number"),
        ("labels", "labels run from 1 to 4"),
        ("float labels", "targets of shape (320,) do not fit the model's output (None, 4)"),
        ("huge targets", "targets go to 3e+200"),
        ("map", "labels of shape (320, 12, 12) do not fit"),
        ("count", "320 training samples have 319 labels"),
        ("samples", "NaN"),
        ("weights", "weights of layer conv"),
        ("shape", "do not fit the model's input (12, 12, 3)"),
        ("few", "too few"),
        ("no labels", "must give back its input"),
        ("regression", "no loss is known"),
        ("many", "no loss is known"),
        ("batch", "cannot be shared by 2 replicas"),
    ],
)
def test_bad_input_is_refused(trainings: Trainings, what: str, said: str) -> None:
    found = trainings.run("bad_input", what=what)
    assert found["error"] == "ConversionError"
    assert said in found["message"]
    if what == "diverges":
        assert "learning_rate" in found["hint"]


@pytest.mark.slow
def test_labels_decide_what_is_learned_not_the_shape_of_the_output(trainings: Trainings) -> None:
    maps = trainings.run("images_out", kind="segmentation")
    assert maps["evaluation"]["metric_name"] == "pixel_accuracy" and maps["full_integer"]
    assert maps["right"] > 0.8  # a copy of the input would be right nowhere
    assert maps["evaluation"]["metric"] == pytest.approx(maps["right"], abs=0.1)
    numbers = trainings.run("images_out", kind="regression")
    assert numbers["evaluation"]["metric_name"] == "mean_absolute_error"
    assert numbers["error"] < 0.05  # of a copy of the input it would be above 1


@pytest.mark.slow
def test_a_regression_is_trained_on_its_targets(trainings: Trainings) -> None:
    evaluation = trainings.run("numbers_out")["evaluation"]
    assert evaluation["metric"] < evaluation["float_metric"] / 2


@pytest.mark.slow
def test_fewer_samples_than_a_batch_are_one_batch(trainings: Trainings) -> None:
    found = trainings.run("few_samples")
    assert found["evaluation"]["training_samples"] == 18
    assert len(found["history"]) == 1


@pytest.mark.slow
def test_fewer_bits_are_evaluated_but_not_deployed(
    trainings: Trainings, plain: dict[str, Any]
) -> None:
    coarse = trainings.run("small", weight_bits=2, activation_bits=2)
    fine = trainings.run("small", weight_bits=4)
    for found in (coarse, fine):
        assert not found["deployable"] and "no kernels" in found["reason"]
    losses = [found["evaluation"]["loss"] for found in (plain, fine, coarse)]
    assert losses[0] < losses[2] and losses[1] < losses[2]
    assert losses[0] != losses[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "how"), [("plain", "qat"), ("dropout", "qat"), ("plain", "prune")]
)
def test_a_killed_training_goes_on_as_if_it_had_not_been(
    trainings: Trainings, tmp_path: Path, kind: str, how: str
) -> None:
    after = 2 if how == "qat" else 4
    whole = trainings.run("killed", checkpoint=str(tmp_path / "a"), kind=kind, after=0, how=how)
    ended = trainings.run("killed", checkpoint=str(tmp_path / "b"), kind=kind, after=after, how=how)
    assert ended == {"ended": -9}
    resumed = trainings.run("killed", checkpoint=str(tmp_path / "b"), kind=kind, after=0, how=how)
    assert resumed["trained_epochs"] == whole["trained_epochs"] - after
    assert resumed["sha256"] == whole["sha256"]
    assert [item["loss"] for item in resumed["history"]] == [
        item["loss"] for item in whole["history"]
    ]


@pytest.mark.slow
def test_a_checkpoint_of_another_training_is_not_used(trainings: Trainings, tmp_path: Path) -> None:
    first = trainings.run("small", checkpoint=str(tmp_path), epochs=1)
    other = trainings.run("small", checkpoint=str(tmp_path), epochs=1, seed=5)
    assert first["weights"] != other["weights"]
    again = trainings.run("small", checkpoint=str(tmp_path), epochs=1, seed=5)
    assert again["weights"] == other["weights"]
    assert not [item for item in again["told"] if item["event"] == "epoch"]
    (state,) = tmp_path.iterdir()
    state.write_bytes(state.read_bytes()[:1000])
    assert (
        trainings.run("small", checkpoint=str(tmp_path), epochs=1, seed=5)["weights"]
        == (other["weights"])
    )


@pytest.mark.slow
def test_the_best_epoch_is_kept(trainings: Trainings) -> None:
    found = trainings.run("small", epochs=4, learning_rate=0.05)
    losses = [item["val_loss"] for item in found["history"]]
    assert found["best_epoch"] == losses.index(min(losses)) + 1
    assert found["evaluation"]["loss"] == min(losses)


@pytest.mark.slow
def test_two_replicas_train_one_model(trainings: Trainings, plain: dict[str, Any]) -> None:
    found = trainings.run("small", strategy="mirrored", replicas=2)
    assert found["full_integer"] and found["agreement"] >= 0.97
    assert found["evaluation"]["metric"] > 0.9
    assert found["weights"] != plain["weights"]
    assert found["weights"] == trainings.run("small", strategy="mirrored", replicas=2)["weights"]


@pytest.mark.slow
def test_tensorboard_logs_on_request(trainings: Trainings, tmp_path: Path) -> None:
    trainings.run("small", tensorboard=str(tmp_path))
    (log, _) = sorted((tmp_path / "qat").iterdir())
    assert b"val_loss" in log.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("qat", [False, True])
def test_pruned_kernels_are_sparse_in_the_file(trainings: Trainings, qat: bool) -> None:
    found = trainings.run("small", how="prune", sparsity=0.75, qat=qat)
    assert found["evaluation"]["sparsity"] == {"conv": 0.75, "out": 0.75}
    assert len(found["zeros"]) == 2 and min(found["zeros"]) >= 0.74
    assert found["full_integer"]
    assert [item["phase"] for item in found["history"]] == ["prune"] * 2 + ["qat"] * 2 * qat
    assert found["needs_calibration"] is not qat


@pytest.mark.slow
@pytest.mark.parametrize("qat", [False, True])
def test_clustered_kernels_have_few_values_in_the_file(trainings: Trainings, qat: bool) -> None:
    found = trainings.run("small", how="cluster", clusters=8, qat=qat)
    assert max(found["evaluation"]["unique_weights"].values()) <= 8
    assert set(found["evaluation"]["unique_weights"]) == {"conv", "out"}
    assert len(found["values_per_channel"]) == 2 and max(found["values_per_channel"]) <= 8
    assert found["full_integer"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["prune", "cluster"])
def test_layers_that_are_not_pruned_or_clustered_say_why(trainings: Trainings, how: str) -> None:
    found = trainings.run("small", kind="depthwise", how=how)
    assert found["layers"]["depthwise"][0] == "unsupported"
    assert "DepthwiseConv2D layers are not" in found["layers"]["depthwise"][1]
    assert found["full_integer"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["functional", "sequential", "recurrent"])
def test_keras_3_models_are_rebuilt_in_keras_2(trainings: Trainings, kind: str) -> None:
    found = trainings.run("keras3", kind=kind)
    assert found["module"].startswith("tf_keras.")
    assert found["difference"] < 1e-5
    if kind != "recurrent":
        assert found["full_integer"], found["operators"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "layer"), [("operation", "exp"), ("newer", "rms")])
def test_a_keras_3_layer_that_keras_2_lacks_is_named(
    trainings: Trainings, kind: str, layer: str
) -> None:
    found = trainings.run("keras3", kind=kind)
    assert found["error"] == "ConversionError"
    assert layer in found["message"] and "cannot be rebuilt in Keras 2" in found["message"]


@pytest.mark.slow
def test_the_network_of_a_tutorial_has_the_published_size(trainings: Trainings) -> None:
    found = trainings.run("tutorial_cnn")
    assert found["full_integer"]
    assert found["float_bytes"] == pytest.approx(6_568_600, rel=0.001)
    assert found["bytes"] == pytest.approx(1_653_824, rel=0.002)


@pytest.mark.slow
def test_an_autoencoder_is_trained_to_give_back_its_input(
    trainings: Trainings, shared: Path
) -> None:
    found = trainings.run("autoencoder", model=str(shared / "models/mlperf_tiny/ad01.h5"))
    assert found["layers"]["batch_normalization"] == [
        "folded",
        "into the weights of dense before training",
    ]
    assert "BatchNormalization" not in found["kinds"]
    assert found["folded_difference"] < 1e-3
    assert found["full_integer"], found["operators"]
    assert found["evaluation"]["metric_name"] == "mean_absolute_error"
    assert found["int8_error"] < 1.2 * found["float_error"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_mobilenet_becomes_all_integer(trainings: Trainings, shared: Path) -> None:
    found = trainings.run("mobile", model=str(shared / "models/mlperf_tiny/vww_96.h5"))
    assert found["full_integer"], found["operators"]
    assert found["bytes"] < 1.02 * 333_288

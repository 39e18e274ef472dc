"""The benchmark of hypergradients: known errors, budgets that are kept, a file that survives."""

import json
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import benchmarking
from jaxhpo.benchmarking.leaderboard import _descent, _pareto, _table
from jaxhpo.benchmarking.leaderboard._work import operations
from jaxhpo.benchmarking.leaderboard.peers import _registry
from jaxhpo.benchmarking.leaderboard.peers._registry import Peer
from jaxhpo.hypergrad import Diagnostics, Estimator, Hypergradient, Traits
from jaxhpo.problems import Task

STEPS = 6


def quadratic():
    """Two numbers pulled to `shift` at rate 0.3: all is known by hand."""
    target = jnp.asarray([1.0, -2.0], jnp.result_type(float))

    def loss(hparams, state):
        return jnp.sum((state - target) ** 2)

    return Task(
        training=hpo.Training(
            init=lambda key, hparams: jnp.zeros(2, target.dtype),
            step=lambda key, hparams, w, t: w - 0.3 * (w - hparams["shift"]),
            loss=loss,
        ),
        num_steps=STEPS,
        hparams={"shift": jnp.asarray([0.5, 0.5], target.dtype)},
        test_loss=loss,
        score=lambda hparams, state: -loss(hparams, state),
        outer_lr=0.1,
        num_outer=10,
    )


def estimator_of(name, gradient):
    """A third party's factory: `gradient(key, exact) -> grad`."""

    def factory(training, *, num_steps):
        exact = hpo.hypergrad.unrolled(training, num_steps=num_steps)

        def evaluate(key, hparams):
            out = exact(key, hparams)
            grad = jax.tree.map(lambda g: gradient(key, g), out.grad)
            return Hypergradient(out.value, grad, out.state, Diagnostics())

        return Estimator(name, training, num_steps, Traits(bias="made so"), evaluate)

    factory.__name__ = name
    return factory


double = estimator_of("double", lambda key, g: 2.0 * g)
# Noise of deviation 3 in both numbers, around 1.5 times the gradient.
noisy = estimator_of(
    "noisy", lambda key, g: 1.5 * g + 3.0 * jax.random.normal(key, g.shape, g.dtype)
)
broken = estimator_of("broken", lambda key, g: g * jnp.nan)


def refusing(training, *, num_steps):
    raise ValueError("refusing: this run is not to my taste. Take another.")


def raising(training, *, num_steps):
    raise RuntimeError("my estimator: it broke\nhere")


def failing_callback(training, *, num_steps):
    """Traces and compiles; raises when it runs."""

    def stop(loss):
        raise RuntimeError("no answer")

    def loss(hparams, state):
        value = jax.lax.stop_gradient(training.loss(hparams, state))
        return jax.pure_callback(stop, jax.ShapeDtypeStruct(value.shape, value.dtype), value)

    return hpo.hypergrad.unrolled(training._replace(loss=loss), num_steps=num_steps)


def table_of(estimators, tasks=(quadratic,), **settings):
    given = {"budget": 40, "num_seeds": 2, "num_tuning_seeds": 1, "progress": False, **settings}
    return benchmarking.hypergradients(estimators, tasks, **given)


def cell_of(board, name):
    (found,) = [cell for cell in board.cells if cell["estimator"] == name]
    return found


@pytest.fixture(scope="module")
def board():
    return table_of(["unrolled", "forward", "one_step", double, noisy, broken, refusing])


def test_exact_estimators_have_no_error(board):
    unrolled, forward = cell_of(board, "unrolled"), cell_of(board, "forward")
    assert unrolled["error"] == 0.0
    assert unrolled["cosine"] == pytest.approx(1.0)
    assert 0.0 <= forward["error"] < 1e-12
    assert unrolled["bias"] == unrolled["deviation"] == 0.0
    assert unrolled["verdict"].startswith("exact")


def test_errors_that_are_known(board):
    # The gradient of the last step is `0.3 g`, that of all steps `(1 - 0.7^6) g`.
    short = 1 - 0.3 / (1 - 0.7**STEPS)
    assert cell_of(board, "one_step")["error"] == pytest.approx(short, rel=1e-6)
    assert cell_of(board, "one_step")["cosine"] == pytest.approx(1.0)
    assert cell_of(board, "double")["error"] == pytest.approx(1.0)
    assert cell_of(board, "double")["verdict"].startswith("biased: made so")


def test_bias_and_deviation_are_apart(board):
    cell, task = cell_of(board, "noisy"), quadratic()
    start = np.array(next(row for row in board.rows if row["estimator"] == "noisy")["loss_before"])
    # |exact gradient| = 2 (1 - 0.7^6) |w - target|, and the loss is that distance squared.
    size = 2 * (1 - 0.7**STEPS) * np.sqrt(start)
    keys = [jax.random.key(i) for i in range(8)]
    with jax.enable_x64(True):
        noise = np.stack([3.0 * jax.random.normal(key, (2,), jnp.float64) for key in keys])
    deviation = np.sqrt(noise.var(axis=0, ddof=1).sum())
    assert cell["deviation"] == pytest.approx(deviation / size, rel=1e-4)
    assert cell["bias"] == pytest.approx(0.5, abs=2 * deviation / size / np.sqrt(8))
    assert cell["deviation"] > 0
    assert task.num_steps == STEPS


def test_what_breaks_and_what_refuses_comes_last(board):
    found = cell_of(board, "broken")
    assert found["num_finite"] == 0
    assert found["loss"] is None
    assert cell_of(board, "refusing")["note"] == "refuses: this run is not to my taste"
    assert set(board.standings.estimators[-2:]) == {"broken", "refusing"}
    np.testing.assert_allclose(board.standings.mean[-2:], 6.5)
    assert board.standings.mean.sum() == pytest.approx(28)


def test_what_raises_is_a_row_and_not_the_end():
    board = table_of([raising, failing_callback, "unrolled"])
    notes = {cell["estimator"]: cell["note"] for cell in board.cells}
    assert notes["raising"] == "fails: RuntimeError: my estimator: it broke"
    assert notes["failing_callback"] == "fails: RuntimeError: no answer"
    assert notes["unrolled"] == ""
    assert board.standings.estimators[0] == "unrolled"


def test_a_table_in_which_nothing_descends_is_written(tmp_path):
    board = table_of([broken])
    assert board.cells[0]["target"] is None
    text = benchmarking.write_leaderboard(board, tmp_path)[1].read_text()
    assert "before; target –" in text
    assert "2 of 2 diverged" in text
    assert benchmarking.write_leaderboard(table_of([raising]), tmp_path)[1].exists()


def test_budgets_are_in_training_runs(board):
    for cell in board.cells:
        if not cell["note"]:
            assert cell["num_outer"] == int(40 / cell["work"])
    # Twice the steps' gradient moves Adam as far as the gradient itself.
    ends = [cell_of(board, name)["loss"] for name in ("double", "unrolled")]
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)
    dear = table_of(["es"], budget=2)
    assert dear.rows[0]["note"].endswith("runs, more than the budget")
    assert dear.rows[0]["work"] > 32


def test_operations_by_hand():
    assert operations(jnp.dot, jnp.ones((3, 4)), jnp.ones((4, 5))) == 2 * 3 * 4 * 5

    def loop(x):
        return jax.lax.while_loop(lambda c: c[0] < 7, lambda c: (c[0] + 1, 2.0 * c[1]), (0, x))[1]

    assert operations(loop, jnp.ones(10)) == 7 * 11  # ten products and one sum a round
    assert operations(lambda x: jax.lax.scan(lambda c, _: (loop(c), None), x, length=3)[0],
                      jnp.ones(10)) == 3 * 7 * 11  # fmt: skip
    run = lambda n: hpo.training.objective(quadratic().training, n)  # noqa: E731
    key, hparams = jax.random.key(0), quadratic().hparams
    one, two, ten = (operations(run(n), key, hparams) for n in (1, 2, 10))
    assert ten - one == pytest.approx(9 * (two - one))


def test_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    first = table_of(["unrolled", double], out=tmp_path)
    path = tmp_path / "hypergradients.jsonl"
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    path.write_text("\n".join(lines[:3]) + "\n" + lines[3][:50])  # killed while it wrote
    ran = []
    descend = _descent.Stepper.descend

    def watched(self, seed, rate, num_outer):
        ran.append((seed, rate))
        return descend(self, seed, rate, num_outer)

    monkeypatch.setattr(_descent.Stepper, "descend", watched)
    again = table_of(["unrolled", double], out=tmp_path)
    assert ran == [(1, first.rows[3]["outer_lr"])]  # one seed, and the outer step that was chosen
    for one, other in zip(first.rows, again.rows, strict=True):
        assert one["losses"] == other["losses"]
        assert one["error"] == other["error"]
    ran.clear()
    table_of(["unrolled", double], out=tmp_path)
    assert ran == []
    more = table_of(["unrolled"], out=tmp_path, num_seeds=3)
    assert [row["seed"] for row in more.rows] == [0, 1, 2]
    assert [s for s, _ in ran] == [2]


def test_what_was_mended_is_tried_again(tmp_path):
    path = tmp_path / "hypergradients.jsonl"
    mended = []

    def mine(training, *, num_steps):
        if not mended:
            raise ValueError("mine: not yet.")
        return hpo.hypergrad.unrolled(training, num_steps=num_steps)

    table_of([mine], out=tmp_path, num_seeds=1)
    before = path.read_bytes()
    assert table_of([mine], out=tmp_path, num_seeds=1).rows[0]["note"] == "refuses: not yet."
    assert path.read_bytes() == before  # the same words are not written twice
    mended.append(True)
    board = table_of([mine], out=tmp_path)
    assert [row["note"] for row in board.rows] == ["", ""]
    assert board.rows == table_of([mine], out=tmp_path).rows


def test_a_label_stands_for_one_thing_in_a_folder(tmp_path):
    table_of({"mine": double}, out=tmp_path, num_seeds=1)
    table_of({"mine": double}, out=tmp_path, num_seeds=1)
    with pytest.raises(ValueError, match=r"estimator 'mine' is .*factory, and now it is unrolled;"):
        table_of({"mine": "unrolled"}, out=tmp_path)
    with pytest.raises(ValueError, match=r"task 'quadratic' is .*:quadratic, and now it is valley"):
        table_of({"mine": double}, {"quadratic": "valley"}, out=tmp_path)


def test_seeds_are_those_of_the_table(tmp_path):
    table_of(["unrolled"], out=tmp_path, num_seeds=1, budget=8)
    board = table_of(["unrolled"], out=tmp_path, num_seeds=2, budget=8)
    text = benchmarking.write_leaderboard(board, tmp_path)[1].read_text()
    assert text.startswith("2 seeds, a budget of 8 training runs a descent")
    assert "chosen by 1 other seed, JAX" in text
    assert "mean over 1 task, 1 the best" in text


def test_losses_on_the_way_may_be_infinite():
    rows = [row("a", "t", s, [None, 1.5, 0.5]) for s in (0, 1)]
    (cell,) = _table.leaderboard_of(rows).cells
    assert cell["runs_to_target"] == pytest.approx(60)  # at the last of three marks


def test_reported_seeds_are_not_those_that_choose_the_outer_step(monkeypatch):
    seeds = []
    descend = _descent.Stepper.descend
    monkeypatch.setattr(
        _descent.Stepper,
        "descend",
        lambda self, s, *rest: seeds.append(s) or descend(self, s, *rest),
    )
    table_of(["unrolled"], num_seeds=2, num_tuning_seeds=2)
    assert sorted(set(seeds[: 4 * 2])) == [1_000_000, 1_000_001]
    assert seeds[4 * 2 :] == [0, 1]


def row(name, task, seed, losses, **more):
    return {
        "estimator": name, "task": task, "seed": seed, "note": "", "is_finite": True,
        "loss_before": 10.0, "losses": losses, "loss": losses[-1], "score": 0.0, "seconds": 10.0,
        "num_outer": 20, "time_ratio": 3.0, **more,
    }  # fmt: skip


def test_targets_and_intervals_by_hand():
    rows = [row("a", "t", s, [5.0, 1.5, end]) for s, end in ((0, 0.5), (1, 1.5))]
    rows += [row("b", "t", s, [8.0, 6.0, 4.0]) for s in (0, 1)]
    board = _table.leaderboard_of(rows)
    a, b = board.cells
    assert a["loss"] == 1.0
    assert a["loss_half"] == pytest.approx(12.706 * 0.5, rel=1e-4)
    assert a["target"] == pytest.approx(10 - 0.9 * 9)
    # Below 1.9 after two thirds of 20 steps of 3 runs, of 10 seconds.
    assert a["runs_to_target"] == pytest.approx(40)
    assert b["runs_to_target"] is None
    assert a["seconds_to_target"] == pytest.approx(20 / 3)
    assert board.standings.estimators == ("a", "b")
    np.testing.assert_allclose(board.standings.mean, [1.0, 2.0])


def test_critical_differences_are_those_of_the_table():
    # Demšar 2006, table 5a: q of 2, 5 and 10 classifiers at 0.05.
    for count, quantile in ((2, 1.960), (5, 2.728), (10, 3.164)):
        expected = quantile * np.sqrt(count * (count + 1) / (6 * 14))
        assert _table.critical_difference(count, 14) == pytest.approx(expected, rel=1e-3)
    assert np.isnan(_table.critical_difference(1, 3))


def test_points_that_none_beats():
    cells = [
        {"estimator": n, "task": t, "time_ratio": x, "error": y, "memory_mb": 1.0,
         "plain_memory_mb": 0.5, "loss": 1.0, "loss_before": 2.0}
        for n, t, x, y in (("a", "p", 1.0, 0.5), ("b", "p", 2.0, 0.5), ("c", "p", 3.0, 0.0),
                           ("b", "q", 2.0, 0.5))
    ]  # fmt: skip
    cloud, _ = _pareto.clouds(cells)
    assert cloud.is_front.tolist() == [True, False, True, True]


def test_files(board, tmp_path):
    written = benchmarking.write_leaderboard(board, tmp_path / "new")
    assert [path.name for path in written] == [
        f"leaderboard.{end}" for end in ("csv", "md", "html", "png")
    ]
    text = written[1].read_text()
    assert "| unrolled | 0 | 1.000 |" in text
    assert "refuses: this run" in text
    assert "error against time" in written[2].read_text().lower()
    assert written[3].stat().st_size > 5000


@pytest.mark.parametrize(
    ("estimators", "tasks", "settings", "error", "message"),
    [
        (["unroled"], None, {}, ValueError, "`estimators` must be among unrolled.*did you mean"),
        ([], None, {}, ValueError, "`estimators` must be at least one"),
        ("unrolled", None, {}, TypeError, "`estimators` must be a list"),
        ([3], None, {}, TypeError, "must be names or functions"),
        (["unrolled", "unrolled"], None, {}, ValueError, "must differ, got 'unrolled' twice"),
        ([lambda training, *, num_steps: 3], None, {}, TypeError, "must return a hypergrad.Estim"),
        (
            ["unrolled"],
            ["rigde"],
            {},
            ValueError,
            "`tasks` must be among ridge.*did you mean `ridge`",
        ),
        (["unrolled"], [lambda: 3], {}, TypeError, "must return a problems.Task"),
        (["unrolled"], [3], {}, TypeError, "`tasks` must be names"),
        (["unrolled"], ["valley"], {"budget": 0}, ValueError, "`budget` must be"),
        (["unrolled"], ["valley"], {"num_seeds": 1.5}, TypeError, "`num_seeds` must be"),
        (["unrolled"], ["valley"], {"out": 3}, TypeError, "`out` must be a folder"),
    ],
)
def test_senseless_arguments(estimators, tasks, settings, error, message):
    given = [quadratic] if tasks is None else tasks
    with pytest.raises(error, match=message):
        table_of(estimators, given, **settings)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "hypergradients.jsonl"
    for text in ('{"a": 1}\n', "hello\n", "[1]\n", "my only copy", '{"a": 1}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="line 1 of .* is no row of this benchmark"):
            table_of(["unrolled"], out=tmp_path)
        assert path.read_text() == text
    table_of(["unrolled"], out=tmp_path / "new", num_seeds=1)
    good = (tmp_path / "new" / "hypergradients.jsonl").read_text()
    path.write_text(good[:-1])  # an editor took the last line break
    table_of(["unrolled"], out=tmp_path, num_seeds=1)
    assert path.read_text() == good
    with pytest.raises(TypeError, match="`leaderboard` must be a Leaderboard"):
        benchmarking.write_leaderboard([], tmp_path)


def test_folders_that_cannot_be_written(tmp_path, board):
    file = tmp_path / "file"
    file.write_text("kept")
    for wrong in (file, file / "below"):
        with pytest.raises(ValueError, match="hypergradients: `out` must be a folder that can be"):
            table_of(["unrolled"], out=wrong)
        with pytest.raises(ValueError, match="write_leaderboard: `out` must be a folder that can"):
            benchmarking.write_leaderboard(board, wrong)
    assert file.read_text() == "kept"


def test_rows_are_plain_json(board):
    text = json.dumps(board.rows, allow_nan=False)
    assert json.loads(text) == list(board.rows)


def test_peers_say_what_they_lack(monkeypatch):
    gone = Peer("no_such_module", "no-such-package", "unrolled", "never written")
    monkeypatch.setitem(_registry.PEERS, "gone", gone)
    monkeypatch.setitem(_registry.PEERS, "here", Peer("optax", "optax", "unrolled", "slow"))
    board = table_of(["unrolled", "gone", "here"])
    assert cell_of(board, "gone")["note"] == "not installed: pip install no-such-package"
    here = cell_of(board, "here")
    assert here["note"].startswith("no form of this task for it; there is one of logistic")
    assert here["version"] == metadata.version("optax")
    assert here["defect"] == "slow"
    assert board.standings.estimators[0] == "unrolled"


def test_a_process_that_fails_is_a_row_and_not_the_end(monkeypatch):
    monkeypatch.setitem(_registry.PEERS, "here", Peer("optax", "optax", "unrolled"))
    board = table_of(["here"], ["logistic"], num_seeds=1)  # of a name that it does not know
    assert board.rows[0]["note"].startswith("failed in its process: KeyError: 'here'")


@pytest.mark.slow
@pytest.mark.parametrize("name", _registry.PEERS)
def test_peers_give_the_gradient_that_they_claim(name):
    """In an environment that has them: all but the one that is known to be wrong are right."""
    pytest.importorskip(_registry.PEERS[name].module)
    task = "logistic"
    board = table_of([name], [task], num_seeds=1)
    row = board.rows[0]
    assert row["note"] == ""
    limits = {"torchopt": 1e-10, "higher": 1e-10, "gradhpo": 10.0, "betty_cg": 10.0}
    assert row["error"] < limits.get(name, 0.1)
    assert row["version"]

"""The benchmark: ranks from known curves, a file that survives a kill, the command end to end."""

import csv
import json
import pathlib

import jax
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import benchmarking
from jaxhpo.benchmarking import _hypervolume, _run
from jaxhpo.cli._bench import bench as run_bench


def record(problem, sampler, curves, minimum=0.0):
    return {
        **benchmarking.Cell(problem, sampler, len(curves[0]), len(curves))._asdict(),
        "minimum": minimum,
        "cpu_s": 0.008,
        "compile_s": 2.0,
        "best_so_far": curves,
    }


TWO = [
    record("p", "good", [[4.0, 1.0], [3.0, 1.0]]),
    record("p", "bad", [[3.0, 3.0], [None, 2.0]]),
    record("p", "same", [[3.0, 1.0], [5.0, 1.0]]),
]


def test_ranks_by_hand():
    table = benchmarking.rank_table(TWO)
    # After the last trial good and same tie on both seeds: (1 + 2)/2; bad is third.
    assert table.samplers == ("good", "same", "bad")
    np.testing.assert_allclose(table.ranks[:, -1], [1.5, 1.5, 3.0])
    # After the first: seed 0 ranks 3, 1.5, 1.5 (good, bad, same), seed 1 ranks 1, 3, 2.
    np.testing.assert_allclose(table.rank_curves[:, 0], [2.0, 1.75, 2.25])
    np.testing.assert_allclose(table.anytime, [1.75, 1.625, 2.625])
    np.testing.assert_allclose(table.seconds, 0.002)
    assert table.per_problem.shape == (3, 1)


def test_problems_that_not_all_have_run_are_left_out():
    table = benchmarking.rank_table([*TWO, record("q", "good", [[0.0, 0.0]])])
    assert table.problems == ("p",)
    with pytest.raises(ValueError, match="every sampler has run"):
        benchmarking.rank_table([TWO[0], record("q", "bad", [[1.0]])])


def test_regret_counts_from_the_best_found_where_the_minimum_is_unknown():
    records = [record("p", name, curves, None) for name, curves in
               (("a", [[2.0, 1.5]]), ("b", [[2.0, 0.5]]))]  # fmt: skip
    rows = benchmarking.summary(records)
    assert [row["regret_median"] for row in rows] == [1.0, 0.0]
    assert rows[0]["ms_per_suggestion"] == pytest.approx(4.0)


def test_packed_results_keep_ranks_and_know_what_auto_takes(tmp_path):
    falling = np.linspace(3.0, 1.0, 20)
    records = [
        {**record("branin", name, [(falling + shift).tolist()] * 2), "jax": "", "device": ""}
        for name, shift in (("tpe", 0.1), ("gp", 0.2), ("qmc", 0.0), ("auto", 9.0))
    ]
    path = tmp_path / "short.json"
    benchmarking.pack(records, path)
    found = benchmarking.unpack(path)
    assert [cell["sampler"] for cell in found] == ["tpe", "gp", "qmc"]  # not auto's own row
    np.testing.assert_allclose(found[0]["best_so_far"][0], (falling + 0.1)[1::2], rtol=1e-3)
    table = benchmarking.rank_table(found)
    assert table.samplers == ("qmc", "tpe", "gp")
    standing = benchmarking.standing(found)
    assert standing.chosen == {"gp": 1}  # 20 trials in two dimensions
    np.testing.assert_allclose(
        np.stack([standing.best, standing.second, standing.auto]), np.repeat([[1], [2], [3]], 10, 1)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["short", "long", "wide", "tabular", "tabular-long", "several", "several-long"]
)
def test_auto_is_as_good_as_the_second_best_sampler(name):
    """The rules of today on the measurements that are kept, `benchmarks/which_sampler.py`."""
    path = pathlib.Path(__file__).parents[2] / "benchmarks" / "results" / f"{name}.json"
    found = benchmarking.standing(benchmarking.unpack(path))
    assert found.auto[-1] <= found.second[-1]


def test_missing_volume():
    problem = hpo.problems.zdt1(2)
    front = problem.front(400)
    worse = [[0.5, 2.0], [np.nan, np.nan], [2.0, 0.5]]
    value = np.stack([np.concatenate([worse, front]), np.full((len(front) + 3, 2), np.nan)])
    missing = _hypervolume.hypervolume_gap(problem, value)
    end = _hypervolume.reference_point(problem)
    assert (end >= problem.reference).all()
    whole = (end[0] * end[1]) - 1 / 3  # below f2 = 1 - sqrt(f1), from the origin
    first = (end[0] - 0.5) * (end[1] - 2.0)
    assert missing[0, 0] == pytest.approx(1 - first / whole, abs=2e-3)
    assert missing[0, 1] == missing[0, 0]
    assert missing[0, -1] == pytest.approx(0.0, abs=1e-5)
    assert (missing[1] == 1).all()


def test_every_problem_can_be_evaluated():
    for name in ("mixed", "categorical", "conditional", "michalewicz5", "bbob24_20d"):
        problem = benchmarking.PROBLEMS[name]()
        space, objective = problem.space, problem.objective

        @jax.jit
        def evaluate(key, space=space, objective=objective):
            return jax.vmap(lambda v: objective(None, v))(space.sample(key, 64))

        found = evaluate(jax.random.key(0))
        assert np.isfinite(np.asarray(found)).all()
        assert float(found.min()) >= problem.minimum - 1e-3
    for names in benchmarking.SETS.values():
        assert set(names) <= set(benchmarking.PROBLEMS)
    for name in benchmarking.SETS["several"]:
        problem = benchmarking.PROBLEMS[name]()
        value = np.asarray(jax.jit(problem.evaluate)(np.full(problem.num_dims, 0.5)))
        assert value.shape == (problem.num_objectives,)


def test_minimum_of_the_conditional_problem():
    problem = hpo.problems.conditional()
    best = {"kernel": {"width": 10.0, "penalty": 0.01, "degree": 3}}
    value = problem.objective(None, problem.space.encode({"model": best, "scale": 1.3}))
    assert float(value) == pytest.approx(problem.minimum, abs=1e-6)


def test_minimum_of_the_categorical_problem_by_enumeration():
    problem = hpo.problems.categorical(3, 4)
    options = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    values = jax.vmap(lambda index: problem.objective(None, {"choice": index}))(options)
    assert float(values.min()) == pytest.approx(problem.minimum, rel=1e-6)


def command(folder, names="random,qmc", problems="branin"):
    run_bench(names, problems, trials=8, seeds=2, seed=0, batch_size=1, out=folder)


def test_command_writes_tables_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    command(tmp_path, names="random")
    path = tmp_path / "results.jsonl"
    whole = path.read_text()
    path.write_text(whole[: whole.rindex("{") + 40])  # killed while it wrote the record
    ran = []
    measure = _run.measure
    monkeypatch.setattr(_run, "measure", lambda group: ran.extend(group) or measure(group))
    command(tmp_path)
    assert [(cell.problem, cell.sampler) for cell in ran] == [
        ("branin", "random"),
        ("branin", "qmc"),
    ]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 2
    again = [line for line in lines if line["sampler"] == "random"]
    first = [json.loads(line) for line in whole.splitlines()]
    assert [r["best_so_far"] for r in again] == [r["best_so_far"] for r in first]
    for name in ("curves.png", "ranks.png"):
        assert (tmp_path / name).stat().st_size > 5000
    with (tmp_path / "ranks.csv").open() as file:
        assert {row["sampler"] for row in csv.DictReader(file)} == {"random", "qmc"}
    with (tmp_path / "summary.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    out, err = capsys.readouterr()
    assert "Mean rank over 1 problems" in out
    # No bar where nobody looks: one line per call.
    assert err == "".join(f"bench: {n} cells; each compiles its program\n" for n in (1, 2))


@pytest.mark.slow
def test_problems_of_one_structure_are_one_program(tmp_path):
    listed = benchmarking.cells(
        ["rosenbrock5", "categorical", "bbob08_5d"], ["random", "auto"], num_trials=6, num_seeds=2
    )
    names = [[cell.problem for cell in group] for group in _run.groups(listed[::2])]
    assert names == [["rosenbrock5", "bbob08_5d"], ["categorical"]]
    records = benchmarking.run(listed, tmp_path / "r.jsonl")
    # `auto` is the sampler that it chooses (here qmc), under its own name.
    assert [r["sampler"] for r in records] == ["random", "auto"] * 3
    problem = benchmarking.PROBLEMS["bbob08_5d"]()
    keys = jax.random.split(jax.random.key(0), 2)
    for record, name in zip(records[-2:], ("random", "qmc"), strict=True):
        alone = hpo.minimize_many(
            problem.objective, problem.space, name, keys=keys, num_trials=6
        ).best_so_far
        np.testing.assert_allclose(record["best_so_far"], alone, rtol=1e-4)


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match="bench: `problems` must be among quick"):
        benchmarking.cells(["nowhere"], ["qmc"], num_trials=1, num_seeds=1)
    with pytest.raises(ValueError, match="bench: `sampler_names` must be among auto"):
        benchmarking.cells(["quick"], ["magic"], num_trials=1, num_seeds=1)
    with pytest.raises(ValueError, match="`sampler_names` must be among .* on the problem zdt1_8d"):
        benchmarking.cells(["several"], ["nsga2", "tpe"], num_trials=1, num_seeds=1)
    with pytest.raises(ValueError, match="of one objective on the problem branin"):
        benchmarking.cells(["branin"], ["gp_multi"], num_trials=1, num_seeds=1)

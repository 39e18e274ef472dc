"""The programs that a run of tests compiles: kept on disk for its other tests, and counted.

Every process of a run shares one folder, those that tests start as well. The folder goes with the
run, unless `JAXHPO_TESTS_CACHE` names one that stays: then the next run compiles what changed.
"""

import collections
import os
import tempfile

import jax

STAGES = {
    "tracing": "/jax/core/compile/jaxpr_trace_duration",
    "lowering": "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "compiling": "/jax/core/compile/backend_compile_duration",  # or reading what was compiled
}
FOUND = "/jax/compilation_cache/cache_hits"

CHOSEN_FOLDER = "JAXHPO_TESTS_CACHE"
SETTINGS = {
    "jax_compilation_cache_dir": None,  # the folder
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
VARIABLES = [name.upper() for name in SETTINGS]


class Programs:
    """A plugin of pytest: one folder per run, and one line at its end."""

    def __init__(self, config):
        self.config = config
        self.counts = collections.Counter()
        if VARIABLES[0] not in os.environ:  # else this is a worker of the run
            self.temporary = tempfile.TemporaryDirectory(prefix="jaxhpo-tests-")
            settings = SETTINGS | {
                "jax_compilation_cache_dir": os.environ.get(CHOSEN_FOLDER, self.temporary.name)
            }
            for name, value in settings.items():
                os.environ[name.upper()] = str(value)
                jax.config.update(name, value)
        jax.monitoring.register_event_duration_secs_listener(self.add_duration)
        jax.monitoring.register_event_listener(self.add_event)

    def add_duration(self, event, seconds, **_):
        for stage, name in STAGES.items():
            if event == name:
                self.counts[stage] += seconds
                self.counts["programs"] += stage == "compiling"

    def add_event(self, event, **_):
        self.counts["found"] += event == FOUND

    def pytest_sessionfinish(self):
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["programs"] = dict(self.counts)

    def pytest_testnodedown(self, node):
        self.counts.update(getattr(node, "workeroutput", {}).get("programs", {}))

    def pytest_terminal_summary(self, terminalreporter):
        stages = ", ".join(f"{stage} {self.counts[stage]:.0f} s" for stage in STAGES)
        terminalreporter.write_line(
            f"programs: {self.counts['programs']:,.0f}, of which {self.counts['found']:,.0f} had "
            f"been compiled before; {stages}, in all processes of pytest"
        )

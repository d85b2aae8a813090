"""The targets: name -> module, whose ``TARGET`` it is.

By name, because atheris instruments what is imported after it.
"""

TARGETS: dict[str, str] = {
    "agent_messages": "fuzz.targets.agent_messages",
    "agent_requests": "fuzz.targets.agent_requests",
    "native_agent": "fuzz.targets.native_agent",
    "tflite": "fuzz.targets.tflite",
    "tflite_metadata": "fuzz.targets.tflite_metadata",
    "model_sources": "fuzz.targets.model_sources",
    "benchmark_model": "fuzz.targets.benchmark_model",
    "benchmark_result": "fuzz.targets.benchmark_result",
    "suites": "fuzz.targets.suites",
    "devices": "fuzz.targets.devices",
    "grammars": "fuzz.targets.grammars",
    "shell_replies": "fuzz.targets.shell_replies",
    "ssh_files": "fuzz.targets.ssh_files",
    "adb_client": "fuzz.targets.adb_client",
    "datasets": "fuzz.targets.datasets",
    "compiler_log": "fuzz.targets.compiler_log",
    # Last: it gives the file system up.
    "android": "fuzz.targets.android",
}

# One run of benchmark_model in the folder $1; the rest is its command line.
# Answers what it prints, stdout and stderr as they come, then "benchmark_run exit CODE".
# Ends the tool when our stdin ends: the host has gone.
mkdir -p "$1" && cd "$1" || exit 1
shift
rm -f result.pb operators.csv
exec 3<&0
# A child of this small shell: the peak memory of a process begins with that of its parent.
"$@" </dev/null 2>&1 3<&- &
tool=$!
(read -r gone; kill -9 "$tool") <&3 >/dev/null 2>&1 &
watcher=$!
wait "$tool"
code=$?
kill -9 "$watcher" 2>/dev/null
printf '\nbenchmark_run exit %s\n' "$code"

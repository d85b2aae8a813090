# Runs benchmark_model once for each of $2 inputs in the folder $1, and joins the outputs.
# `inputs` holds them one after the other, $3 bytes each; one output has $4 bytes; the rest is the
# command line, which reads `input` and writes `output`. Answers a line for each, either
#   benchmark_sweep ok N
# or, for the first and wherever the tool says other things of its delegates than the time before,
#   benchmark_sweep log N, what it printed, benchmark_sweep end N EXITCODE BYTES
# and ends where a run fails, or where a file cannot be written:
#   benchmark_sweep problem N WHY
# Ends when our stdin ends: the host has gone.
cd "$1" || exit 1
count=$2 in=$3 out=$4
shift 4
n=0 before= watcher= tool=

finish() {
  kill -9 $watcher 2>/dev/null
  rm -f input output inputs log pid stop room
}

problem() {
  finish # before the host hears of it and ends this shell
  set -f
  printf 'benchmark_sweep problem %s %s\n' "$n" "$(echo $why)"
  exit 1
}

rm -f outputs stop pid
why=$({ printf '' >outputs; } 2>&1) || problem
exec 3<&0
(read -r gone; : >stop; kill -9 "$(cat pid)") <&3 >/dev/null 2>&1 &
watcher=$!
while [ "$n" -lt "$count" ] && [ ! -e stop ]; do
  rm -f output
  why=$(dd if=inputs of=input bs="$in" skip="$n" count=1 2>&1) || problem
  "$@" </dev/null >log 2>&1 3<&- &
  tool=$!
  why=$({ echo "$tool" | cat >pid; } 2>&1) || { kill -9 "$tool"; problem; }
  wait "$tool"
  code=$?
  size=0 good=
  [ -f output ] && size=$(($(wc -c <output)))
  if [ "$code" = 0 ] && [ "$size" = "$out" ]; then
    good=yes
    why=$({ cat output >>outputs; } 2>&1) || problem
  else
    # The tool may have failed for want of room, and says nothing of it.
    why=$(dd if=/dev/zero of=room bs=4096 count=1 2>&1) || problem
  fi
  said=$(grep -E 'elegat|nsupported|Unconsumed|CPU' log)
  if [ "$n" != 0 ] && [ -n "$good" ] && [ "$said" = "$before" ]; then
    echo "benchmark_sweep ok $n"
  else
    echo "benchmark_sweep log $n"
    head -c 100000 log
    printf '\nbenchmark_sweep end %s %s %s\n' "$n" "$code" "$size"
    [ -n "$good" ] || break
  fi
  before=$said
  n=$((n + 1))
done
finish

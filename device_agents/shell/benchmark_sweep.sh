# Runs benchmark_model once for each of $2 inputs in the folder $1, and joins the outputs.
# `inputs` holds them one after the other, $3 bytes each; one output has $4 bytes; the rest is the
# command line, which reads `input` and writes `output`. Answers a line for each, either
#   benchmark_sweep ok N
# or, for the first and wherever the tool says other things of its delegates than the time before,
#   benchmark_sweep log N, what it printed, benchmark_sweep end N EXITCODE BYTES
# and ends where a run fails. Ends when our stdin ends: the host has gone.
cd "$1" || exit 1
count=$2 in=$3 out=$4
shift 4
rm -f outputs stop pid
: >outputs
exec 3<&0
(read -r gone; : >stop; kill -9 "$(cat pid)") <&3 >/dev/null 2>&1 &
watcher=$!
n=0
before=
while [ "$n" -lt "$count" ] && [ ! -e stop ]; do
  rm -f output
  dd if=inputs of=input bs="$in" skip="$n" count=1 2>/dev/null
  "$@" </dev/null >log 2>&1 3<&- &
  tool=$!
  echo "$tool" >pid
  wait "$tool"
  code=$?
  size=0
  [ -f output ] && size=$(($(wc -c <output)))
  said=$(grep -E 'elegat|nsupported|Unconsumed|CPU' log)
  if [ "$n" != 0 ] && [ "$code" = 0 ] && [ "$size" = "$out" ] && [ "$said" = "$before" ]; then
    echo "benchmark_sweep ok $n"
  else
    echo "benchmark_sweep log $n"
    head -c 100000 log
    printf '\nbenchmark_sweep end %s %s %s\n' "$n" "$code" "$size"
    [ "$code" = 0 ] && [ "$size" = "$out" ] || break
  fi
  before=$said
  cat output >>outputs
  n=$((n + 1))
done
kill -9 "$watcher" 2>/dev/null
rm -f input output inputs log pid stop

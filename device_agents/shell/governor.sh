# Sets the frequency governor of all processors until stdin says "restore" or ends.
#
#   governor.sh NAME
#
# Answers "set N" with the number of processors, or "denied N", or "unknown" with the governors
# that there are. Tied to the link: when the host dies or the cable is pulled, stdin ends and
# the device gets its governor back.
export LC_ALL=C
wanted=$1
case $wanted in "" | *[!a-z_]*) exit 2 ;; esac

restore() {
  trap '' HUP INT TERM
  for entry in $changed; do
    { printf '%s\n' "${entry#*=}" >"${entry%%=*}"; } 2>/dev/null
  done
}
changed= set=0 denied=0 known=
for file in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; do
  [ -e "$file" ] || continue
  before=
  { read -r before <"$file"; } 2>/dev/null
  { read -r known <"${file%scaling_governor}scaling_available_governors"; } 2>/dev/null
  if [ "$before" = "$wanted" ]; then
    set=$((set + 1))
  elif { printf '%s\n' "$wanted" >"$file"; } 2>/dev/null && read -r now <"$file" && [ "$now" = "$wanted" ]; then
    changed="$changed $file=$before"
    set=$((set + 1))
  else
    denied=$((denied + 1))
  fi
done
trap 'restore; exit 0' HUP INT TERM
if [ -n "$known" ] && case " $known " in *" $wanted "*) false ;; *) true ;; esac; then
  printf 'unknown %s\n' "$known"
elif [ "$denied" -gt 0 ]; then
  printf 'denied %s\n' "$denied"
else
  printf 'set %s\n' "$set"
fi
while read -r word && [ "$word" != restore ]; do :; done
restore

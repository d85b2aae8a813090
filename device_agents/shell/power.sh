# What the device tells of its power just now, as lines KEY VALUE...: power.sh KIND [ROOT]
#   battery  power_supply of the kernel: microamperes and microvolts
#   pmic     the power chip of a Raspberry Pi 5, by its own tool
#   rapl     energy counters of Intel and AMD processors, microjoules
# ROOT stands before /sys: a folder that looks like another device, for tests.
#
# POSIX sh with what Debian, busybox and Android's toybox have.
export LC_ALL=C
sys=${2-}/sys

say() {  # say KEY FILE: the first line of a file, or that it may not be read
  line=
  if { read -r line <"$2"; } 2>/dev/null; then printf '%s %s\n' "$1" "$line"
  elif [ -e "$2" ]; then printf '%s denied\n' "$1"; fi
}

say uptime "${2-}/proc/uptime"
case $1 in
  battery)
    for supply in "$sys"/class/power_supply/*; do
      [ -d "$supply" ] || continue
      name=${supply##*/}
      for key in type status online current_now voltage_now power_now; do
        say "$name.$key" "$supply/$key"
      done
    done
    ;;
  pmic)
    command -v vcgencmd >/dev/null 2>&1 || exit 0
    vcgencmd pmic_read_adc 2>&1 | while read -r name rest; do printf 'adc %s %s\n' "$name" "$rest"; done
    ;;
  rapl)
    for zone in "$sys"/class/powercap/intel-rapl:*; do
      [ -d "$zone" ] || continue
      for key in name energy_uj max_energy_range_uj; do say "${zone##*/}.$key" "$zone/$key"; done
    done
    ;;
esac
exit 0

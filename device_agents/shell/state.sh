# What changes between two trials: temperatures, frequencies, governors, battery, as lines
# KEY VALUE...; what the device does not tell is left out. facts.sh tells the rest.
#
# POSIX sh with what Debian, busybox and Android's toybox have. Files are read without a
# process each: a small board takes milliseconds for every one. With 4,000 bytes and less it
# goes to every phone in one packet.
export LC_ALL=C

say() {  # say KEY FILE: the first line of a file
  line=
  { read -r line <"$2"; } 2>/dev/null
  [ -n "$line" ] && printf '%s %s\n' "$1" "$line"
}

say boot /proc/sys/kernel/random/boot_id
say uptime /proc/uptime

for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
  [ -d "$cpu" ] || continue
  number=${cpu##*/cpu}
  say "cpu.$number.online" "$cpu/online"
  say "cpu.$number.capacity" "$cpu/cpu_capacity"
  say "cpu.$number.governor" "$cpu/cpufreq/scaling_governor"
  say "cpu.$number.khz" "$cpu/cpufreq/scaling_cur_freq"
  say "cpu.$number.max_khz" "$cpu/cpufreq/cpuinfo_max_freq"
  say "cpu.$number.limit_khz" "$cpu/cpufreq/scaling_max_freq"
done

for zone in /sys/class/thermal/thermal_zone[0-9]*; do
  [ -d "$zone" ] || continue
  number=${zone##*/thermal_zone}
  say "thermal.$number.type" "$zone/type"
  say "thermal.$number.temp" "$zone/temp"
done

found=
for supply in /sys/class/power_supply/*; do
  kind=
  { read -r kind <"$supply/type"; } 2>/dev/null
  case $kind in
    Battery)
      found=yes
      say battery.level "$supply/capacity"
      say battery.status "$supply/status"
      say battery.temp "$supply/temp"
      ;;
    Mains | USB*) say "power.${supply##*/}" "$supply/online" ;;
  esac
done

if [ -x /system/bin/dumpsys ]; then
  # The kernel's files are closed to the shell user on many phones; the services answer.
  if [ -z "$found" ]; then
    dumpsys battery 2>/dev/null | while read -r key value; do
      case $key in
        level:) printf 'battery.level %s\n' "$value" ;;
        status:) printf 'battery.status %s\n' "$value" ;;
        temperature:) printf 'battery.temp %s\n' "$value" ;;
        AC | USB | Wireless | Dock)
          case $value in
            "powered: true") printf 'power.%s 1\n' "$key" ;;
            "powered: false") printf 'power.%s 0\n' "$key" ;;
          esac
          ;;
      esac
    done
  fi
  # Without a HAL there is only what the service remembers of its sensors, however old.
  remembered= now=
  dumpsys thermalservice 2>/dev/null | {
    while read -r key value; do
      case "$key $value" in
        "Thermal Status: "*) printf 'thermal.status %s\n' "${value#Status: }" ;;
        "Current temperatures from HAL:"*) remembered= now=yes ;;
        Temperature{*)
          line="thermal.service $key $value"
          if [ -n "$now" ]; then printf '%s\n' "$line"; else remembered="$remembered$line
"; fi
          ;;
      esac
    done
    printf '%s' "$remembered"
  }
fi

if command -v vcgencmd >/dev/null 2>&1; then
  printf 'throttled %s\n' "$(vcgencmd get_throttled 2>/dev/null)"
fi
exit 0

# What a device tells of itself, as lines KEY VALUE...; what it does not tell is left out.
#
#   state.sh quick          temperatures, frequencies, governors, battery: between two trials
#   state.sh full FOLDER    also clock, memory, disk of FOLDER, libc, load over a second
#
# POSIX sh with what Debian, busybox and Android's toybox have. Files are read without a
# process each: a small board takes milliseconds for every one.
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
        AC) [ "$value" = "powered: true" ] && printf 'power.ac 1\n' ;;
        USB) [ "$value" = "powered: true" ] && printf 'power.usb 1\n' ;;
        Wireless) [ "$value" = "powered: true" ] && printf 'power.wireless 1\n' ;;
      esac
    done
  fi
  dumpsys thermalservice 2>/dev/null | while read -r key value; do
    case $key in
      Thermal) case $value in Status:*) printf 'thermal.status %s\n' "${value#Status: }" ;; esac ;;
      Temperature{*) printf 'thermal.service %s %s\n' "$key" "$value" ;;
    esac
  done
fi

if command -v vcgencmd >/dev/null 2>&1; then
  printf 'throttled %s\n' "$(vcgencmd get_throttled 2>/dev/null)"
fi

[ "$1" = full ] || exit 0

printf 'clock %s\n' "$(date +%s)"
printf 'system %s\n' "$(uname -s)"
printf 'machine %s\n' "$(uname -m)"
printf 'release %s\n' "$(uname -r)"
printf 'user %s\n' "$(id -u)"
printf 'groups %s\n' "$(id -Gn 2>/dev/null)"
while read -r key value _; do
  case $key in
    MemTotal:) printf 'memory.total_kb %s\n' "$value" ;;
    MemAvailable:) printf 'memory.available_kb %s\n' "$value" ;;
  esac
done </proc/meminfo 2>/dev/null
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) && printf 'libc %s\n' "$libc"

# The folder may not be there yet: the nearest one above it that is.
folder=$2
case $folder in "~/"*) folder=$HOME/${folder#"~/"} ;; esac
case $folder in /*) ;; *) folder=./$folder ;; esac
while [ ! -d "$folder" ] && [ "$folder" != / ] && [ "$folder" != . ]; do
  case $folder in
    */*) folder=${folder%/*} ;;
    *) folder=. ;;
  esac
  [ -n "$folder" ] || folder=/
done
if [ -w "$folder" ]; then printf 'disk.writable 1\n'; else printf 'disk.writable 0\n'; fi
df -k "$folder" 2>/dev/null | {
  read -r _
  while read -r _ blocks _ free _; do
    # A long device name stands on a line of its own; the numbers follow on the next.
    case $free in *[!0-9]* | "") ;; *) printf 'disk.free_kb %s\n' "$free" ;; esac
    case $blocks in *[!0-9]* | "") ;; *) printf 'disk.total_kb %s\n' "$blocks" ;; esac
  done
}

if [ -x /system/bin/getprop ]; then
  for name in ro.product.manufacturer ro.product.model ro.build.version.release \
    ro.build.version.sdk ro.product.cpu.abi ro.soc.model ro.hardware ro.build.fingerprint; do
    printf 'property.%s %s\n' "$name" "$(getprop "$name")"
  done
fi

say model /proc/device-tree/model
for library in libedgetpu.so.1 libOpenCL.so libneuralnetworks.so; do
  for place in /usr/lib /usr/lib/*-linux-gnu* /usr/local/lib /system/lib64 /vendor/lib64; do
    [ -e "$place/$library" ] && printf 'library %s %s\n' "$library" "$place" && break
  done
done
for apex in /dev/apex_*; do
  [ -e "$apex" ] || continue
  if [ -r "$apex" ] && [ -w "$apex" ]; then printf 'apex %s ok\n' "$apex"; else printf 'apex %s denied\n' "$apex"; fi
done

# The processors' time since the start, twice: how busy they are just now.
say stat.before /proc/stat
sleep 1
say stat.after /proc/stat
exit 0

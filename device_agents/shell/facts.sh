# What a device tells of itself beyond state.sh, in the same form: clock, memory, disk of the folder
# $1, libc, libraries, load over a second.
export LC_ALL=C

say() {  # say KEY FILE: the first line of a file
  line=
  { read -r line <"$2"; } 2>/dev/null
  [ -n "$line" ] && printf '%s %s\n' "$1" "$line"
}

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
folder=$1
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

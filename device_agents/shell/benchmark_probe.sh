# What machine this is, and which flags the benchmark_model $1 knows.
# Answers lines "KEY VALUE", then "help" and what the tool prints for --help, then "exit CODE".
tool=$1
[ -x "$tool" ] || chmod 700 "$tool" 2>/dev/null
echo "system $(uname -s)"
echo "machine $(uname -m)"
echo "release $(uname -r)"
echo "cpu_count $(grep -c '^processor' /proc/cpuinfo 2>/dev/null)"
echo "cpu_model $(sed -n -e 's/^model name[^:]*: *//p' -e 's/^Hardware[^:]*: *//p' \
  -e 's/^Model[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)"
echo "governor $(cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null)"
echo "temperature $(cat /sys/class/thermal/thermal_zone0/temp 2>/dev/null)"
if command -v getprop >/dev/null 2>&1; then
  echo "android $(getprop ro.build.version.release)"
  echo "model $(getprop ro.product.model)"
fi
echo help
"$tool" --help </dev/null 2>&1
code=$?
echo
echo "exit $code"
